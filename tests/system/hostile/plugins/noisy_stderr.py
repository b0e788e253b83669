"""Writes megabytes without a newline to stderr, then answers."""

import os

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        for _ in range(64):
            os.write(2, b"\xff" * 65536)
        self.answer(number, {})


Hostile().serve()
