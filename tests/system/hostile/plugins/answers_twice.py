"""Answers every call twice."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.answer(number, {})
        self.answer(number, {})


Hostile().serve()
