"""Answers with 3.0 where 3 was asked; in Python they are equal."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d.0,"result":{}}\n' % number)


Hostile().serve()
