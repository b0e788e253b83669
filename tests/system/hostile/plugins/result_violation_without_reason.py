"""Denies without a reason."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{"violation":{"code":"x"}}}\n' % number)


Hostile().serve()
