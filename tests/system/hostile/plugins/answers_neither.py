"""Answers with neither a result nor an error."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d}\n' % number)


Hostile().serve()
