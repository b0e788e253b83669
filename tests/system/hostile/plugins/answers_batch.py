"""Answers as a batch."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'[{"jsonrpc":"2.0","id":%d,"result":{}}]\n' % number)


Hostile().serve()
