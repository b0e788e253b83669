"""Does not offer the stage of its manifest."""

from peer import Peer


class Hostile(Peer):
    def initialize(self, number, params):
        self.answer(number, {"protocol": "1.0", "plugin": params["plugin"], "stages": {"play": {}}})


Hostile().serve()
