"""Dies in an undo."""

import os

from peer import Peer


class Hostile(Peer):
    undoes = (("unact", "act"),)

    def compensate(self, number, params):
        os.kill(os.getpid(), 9)


Hostile().serve()
