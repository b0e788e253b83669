"""Never answers, and ignores every signal that can be ignored."""

import signal

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(name, signal.SIG_IGN)
        while True:
            signal.pause()


Hostile().serve()
