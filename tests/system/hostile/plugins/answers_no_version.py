"""Answers without the jsonrpc member."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"id":%d,"result":{}}\n' % number)


Hostile().serve()
