"""Answers calls, and leaves children in its group that ignore SIGTERM and hold every pipe open."""

import os
import signal

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()
        self.answer(number, {})


Hostile().serve()
