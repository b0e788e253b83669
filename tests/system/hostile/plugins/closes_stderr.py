"""Closes its stderr and works on."""

import os

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        os.close(2)
        self.answer(number, {})


Hostile().serve()
