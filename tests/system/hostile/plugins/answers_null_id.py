"""Answers with id null."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":null,"result":{}}\n')


Hostile().serve()
