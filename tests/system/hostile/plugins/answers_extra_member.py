"""Answers with a member that JSON-RPC does not know."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{},"method":"log"}\n' % number)


Hostile().serve()
