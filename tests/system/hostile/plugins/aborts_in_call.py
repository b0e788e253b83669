"""Calls abort(), as C libraries do."""

import os

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        os.abort()


Hostile().serve()
