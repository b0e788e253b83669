"""Answers the handshake twice."""

from peer import Peer


class Hostile(Peer):
    def initialize(self, number, params):
        super().initialize(number, params)
        super().initialize(number, params)


Hostile().serve()
