"""Answers an undo with a payload."""

from peer import Peer


class Hostile(Peer):
    undoes = (("unact", "act"),)

    def compensate(self, number, params):
        self.answer(number, {"payload": {}, "out": {"undone": True}})


Hostile().serve()
