"""Ends its line with a carriage return and nothing else, then with noise."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{}}\r{}\n' % number)


Hostile().serve()
