"""Never answers."""

import signal

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        signal.pause()


Hostile().serve()
