"""Answers the handshake with an error."""

from peer import Peer


class Hostile(Peer):
    def initialize(self, number, params):
        self.send({"jsonrpc": "2.0", "id": number, "error": {"code": -32804, "message": "no licence found"}})


Hostile().serve()
