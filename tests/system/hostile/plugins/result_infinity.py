"""Puts an infinity into its result."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{"out":{"q":-Infinity}}}\n' % number)


Hostile().serve()
