"""Answers with an error that is a string."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"error":"broken"}\n' % number)


Hostile().serve()
