"""Refuses its configuration."""

from peer import Peer


class Hostile(Peer):
    def polite(self, number, params):
        self.send({"jsonrpc": "2.0", "id": number, "error": {"code": -32602, "message": "the word list is empty"}})


Hostile().serve()
