"""Answers the handshake with a list."""

from peer import Peer


class Hostile(Peer):
    def initialize(self, number, params):
        self.answer(number, ["1.0"])


Hostile().serve()
