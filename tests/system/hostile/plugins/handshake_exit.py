"""Ends instead of shaking hands."""

import sys

from peer import Peer


class Hostile(Peer):
    def initialize(self, number, params):
        sys.exit("no model file")


Hostile().serve()
