"""Nests its payload deeper than doors let through."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{"payload":{"q":%b%b}}}\n' % (number, b"[" * 300, b"]" * 300))


Hostile().serve()
