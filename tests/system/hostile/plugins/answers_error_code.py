"""Answers with an error whose code is a string."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"error":{"code":"1","message":"x"}}\n' % number)


Hostile().serve()
