"""Puts NaN into its result."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{"payload":{"q":NaN}}}\n' % number)


Hostile().serve()
