"""Answers a call, and in the same breath the calls to come."""

import json

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        answers = [{"jsonrpc": "2.0", "id": number, "result": {}}]
        for guess in range(number + 1, number + 30):
            answers.append({"jsonrpc": "2.0", "id": guess, "result": {"out": {"forged": True}}})
        # One write that a pipe takes as a whole, so the forged answers are there before the next call is.
        self.write(b"".join(json.dumps(answer).encode() + b"\n" for answer in answers))


Hostile().serve()
