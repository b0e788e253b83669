"""Denies with a code that is the host's own."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(
            b'{"jsonrpc":"2.0","id":%d,"result":{"violation":{"code":"penstock.timeout","reason":"x"}}}\n' % number
        )


Hostile().serve()
