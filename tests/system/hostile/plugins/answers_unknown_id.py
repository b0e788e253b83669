"""Answers a call that was never made."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{}}\n' % (number + 1000))


Hostile().serve()
