"""Never answers the handshake."""

import signal

from peer import Peer


class Hostile(Peer):
    def initialize(self, number, params):
        signal.pause()


Hostile().serve()
