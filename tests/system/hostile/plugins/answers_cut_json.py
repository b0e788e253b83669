"""Writes half of a message and ends the line."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{\n}}\n' % number)


Hostile().serve()
