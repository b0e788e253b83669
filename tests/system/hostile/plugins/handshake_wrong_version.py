"""Speaks a protocol of the future."""

from peer import Peer


class Hostile(Peer):
    def initialize(self, number, params):
        self.answer(number, {"protocol": "2.0", "plugin": params["plugin"], "stages": {"act": {}}})


Hostile().serve()
