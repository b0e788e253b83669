"""Answers its first call when the second has come."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        waiting = getattr(self, "waiting", None)
        self.waiting = number
        if waiting is not None:
            self.answer(waiting, {"out": {"late": True}})
            self.answer(number, {"out": {"late": False}})


Hostile().serve()
