"""Writes a line that is a bare number."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b"%d\n" % number)


Hostile().serve()
