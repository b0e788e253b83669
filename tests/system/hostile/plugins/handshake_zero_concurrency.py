"""Takes no call at once."""

from peer import Peer


class Hostile(Peer):
    def initialize(self, number, params):
        stages = {"act": {}}
        self.answer(number, {"protocol": "1.0", "plugin": params["plugin"], "stages": stages, "concurrency": 0})


Hostile().serve()
