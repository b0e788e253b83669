"""Never answers, and keeps its processor busy."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        while True:
            pass


Hostile().serve()
