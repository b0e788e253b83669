"""Undoes whatever it is told to."""

from peer import Peer


class Hostile(Peer):
    undoes = (("unact", "act"),)

    def compensate(self, number, params):
        self.answer(number, {"out": {"undone": params["undoes"]}})


Hostile().serve()
