"""Ends and leaves a grandchild behind that holds its stdout open."""

import os
import signal

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        if os.fork() == 0:
            signal.pause()
        os._exit(0)


Hostile().serve()
