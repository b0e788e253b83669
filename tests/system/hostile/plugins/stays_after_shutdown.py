"""Answers `shutdown` and the end of its input by staying, and ignores SIGTERM."""

import signal

from peer import Peer


class Hostile(Peer):
    def shutdown(self, number, params):
        pass


signal.signal(signal.SIGTERM, signal.SIG_IGN)
Hostile().serve()
while True:
    signal.pause()
