"""Writes a line over the limit."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.answer(number, {"out": {"big": "x" * 2_000_000}})


Hostile().serve()
