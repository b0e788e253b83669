"""Asks the host for things without end and never reads an answer."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        while True:
            self.send({"jsonrpc": "2.0", "id": 1, "method": "x" * 70, "params": {}})


Hostile().serve()
