"""Answers with a result and an error."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{},"error":{"code":1,"message":"x"}}\n' % number)


Hostile().serve()
