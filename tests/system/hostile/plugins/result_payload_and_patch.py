"""Answers with a payload and a patch."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{"payload":{},"patch":{}}}\n' % number)


Hostile().serve()
