"""Ends in the middle of a call, saying why on stderr."""

import os
import sys

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        print("the disk is full", file=sys.stderr, flush=True)
        os._exit(7)


Hostile().serve()
