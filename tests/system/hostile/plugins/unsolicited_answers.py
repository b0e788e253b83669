"""Answers a call, and in the same breath the calls to come."""

import json

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        forged = {"out": {"forged": True}}
        guesses = ({"jsonrpc": "2.0", "id": guess, "result": forged} for guess in range(number + 1, number + 30))
        answers = [{"jsonrpc": "2.0", "id": number, "result": {}}, *guesses]
        # One write that a pipe takes as a whole, so the forged answers are there before the next call is.
        self.write(b"".join(json.dumps(answer).encode() + b"\n" for answer in answers))


Hostile().serve()
