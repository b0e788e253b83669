"""Answers without an id."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","result":{}}\n')


Hostile().serve()
