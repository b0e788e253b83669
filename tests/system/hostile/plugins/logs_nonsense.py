"""Writes notifications that make no sense, then answers."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        for said in (None, [], 7, {"level": 7}, {"message": []}, {"level": "loud", "message": "x", "fields": 3}):
            self.send({"jsonrpc": "2.0", "method": "log", "params": said})
        self.send({"jsonrpc": "2.0", "method": "no/such"})
        self.send({"jsonrpc": "2.0", "method": "$/progress", "params": {"done": "all"}})
        self.answer(number, {})


Hostile().serve()
