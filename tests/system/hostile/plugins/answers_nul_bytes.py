"""Writes NUL bytes in front of its answer."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'\0\0{"jsonrpc":"2.0","id":%d,"result":{}}\n' % number)


Hostile().serve()
