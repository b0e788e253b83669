"""Denies an undo."""

from peer import Peer


class Hostile(Peer):
    undoes = (("unact", "act"),)

    def compensate(self, number, params):
        self.answer(number, {"violation": {"code": "no", "reason": "it is done"}})


Hostile().serve()
