"""Ends when it is configured."""

import sys

from peer import Peer


class Hostile(Peer):
    def polite(self, number, params):
        sys.exit(9)


Hostile().serve()
