"""Knows no such key."""

from peer import Peer


class Hostile(Peer):
    undoes = (("unact", "act"),)

    def compensate(self, number, params):
        error = {"code": -32603, "message": "there is no key " + params["undoes"]}
        self.send({"jsonrpc": "2.0", "id": number, "error": error})


Hostile().serve()
