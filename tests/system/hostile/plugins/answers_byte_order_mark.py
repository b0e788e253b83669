"""Writes a byte order mark in front of its answer."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'\xef\xbb\xbf{"jsonrpc":"2.0","id":%d,"result":{}}\n' % number)


Hostile().serve()
