"""Puts a number into its result that overflows to infinity."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{"payload":{"q":1e400}}}\n' % number)


Hostile().serve()
