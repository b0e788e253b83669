"""Runs into a segmentation fault."""

import ctypes

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        ctypes.string_at(0)


Hostile().serve()
