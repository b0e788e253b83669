"""Answers an undo twice."""

from peer import Peer


class Hostile(Peer):
    undoes = (("unact", "act"),)

    def compensate(self, number, params):
        self.answer(number, {})
        self.answer(number, {})


Hostile().serve()
