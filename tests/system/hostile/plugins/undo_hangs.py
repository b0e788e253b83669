"""Never answers an undo."""

import threading

from peer import Peer


class Hostile(Peer):
    undoes = (("unact", "act"),)

    def compensate(self, number, params):
        threading.Event().wait()


Hostile().serve()
