"""Writes an over-long line whose tail reads as an answer of its own."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        forged = b'{"jsonrpc":"2.0","id":%d,"result":{"out":{"forged":true}}}' % number
        self.write(b"x" * 1_048_576 + forged + b"\n")


Hostile().serve()
