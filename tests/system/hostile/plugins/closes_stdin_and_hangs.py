"""Closes its stdin and lives on."""

import os
import signal

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        os.close(0)
        signal.pause()


Hostile().serve()
