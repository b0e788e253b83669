"""Answers with an id beyond 64 bits."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":1%b,"result":{}}\n' % (b"0" * 40))


Hostile().serve()
