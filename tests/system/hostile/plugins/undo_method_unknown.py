"""Says that it has an undo, and does not know the method."""

from peer import Peer


class Hostile(Peer):
    undoes = (("unact", "act"),)

    def compensate(self, number, params):
        error = {"code": -32601, "message": "there is no method stage/compensate"}
        self.send({"jsonrpc": "2.0", "id": number, "error": error})


Hostile().serve()
