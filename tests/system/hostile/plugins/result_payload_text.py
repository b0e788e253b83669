"""Answers with a payload that is a string."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{"payload":"none"}}\n' % number)


Hostile().serve()
