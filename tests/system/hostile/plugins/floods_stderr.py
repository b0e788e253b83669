"""Writes without end to stderr in a thread, and answers."""

import os
import threading

from peer import Peer


def flood():
    while True:
        os.write(2, b"x" * 65536)


threading.Thread(target=flood, daemon=True).start()


class Hostile(Peer):
    def invoke(self, number, params):
        self.answer(number, {})


Hostile().serve()
