"""Writes an empty line."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b"\n")


Hostile().serve()
