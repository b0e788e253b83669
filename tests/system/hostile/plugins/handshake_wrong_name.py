"""Says that it is another plugin."""

from peer import Peer


class Hostile(Peer):
    def initialize(self, number, params):
        self.answer(number, {"protocol": "1.0", "plugin": {"name": "other", "version": "9"}, "stages": {"act": {}}})


Hostile().serve()
