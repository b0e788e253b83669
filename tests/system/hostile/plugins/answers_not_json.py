"""Writes a line that is no JSON."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b"result: fine\n")


Hostile().serve()
