"""Answers calls before they are made."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.answer(number, {})
        for guess in range(number + 1, number + 50):
            self.answer(guess, {"out": {"forged": True}})


Hostile().serve()
