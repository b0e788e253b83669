"""Writes a line that never ends."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        while True:
            self.write(b"x" * 65536)


Hostile().serve()
