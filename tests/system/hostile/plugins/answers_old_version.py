"""Answers as JSON-RPC 1.0."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"1.0","id":%d,"result":{}}\n' % number)


Hostile().serve()
