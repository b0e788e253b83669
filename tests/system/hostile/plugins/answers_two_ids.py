"""Answers with two members called id."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"id":%d,"result":{}}\n' % (number, number + 7))


Hostile().serve()
