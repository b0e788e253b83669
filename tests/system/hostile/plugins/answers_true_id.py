"""Answers with true where 1 might be asked; in Python they are equal."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":true,"result":{}}\n')


Hostile().serve()
