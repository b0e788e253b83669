"""Answers the handshake with a frame over the limit."""

from peer import Peer


class Hostile(Peer):
    def initialize(self, number, params):
        self.answer(number, {"protocol": "1" * 2_000_000, "plugin": params["plugin"], "stages": {"act": {}}})


Hostile().serve()
