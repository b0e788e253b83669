"""Nests its result a hundred thousand levels deep."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(
            b'{"jsonrpc":"2.0","id":%d,"result":{"payload":{"q":%b%b}}}\n' % (number, b"[" * 100_000, b"]" * 100_000)
        )


Hostile().serve()
