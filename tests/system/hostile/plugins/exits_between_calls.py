"""Answers one call and ends."""

import os

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.answer(number, {})
        os._exit(1)


Hostile().serve()
