"""A well-behaved peer in few lines; the scripts beside it misbehave in one point each."""

import json
import os
import sys

OK = {}


class Peer:
    """Speaks the protocol; override what should go wrong. `undoes` pairs its undos with what they undo."""

    undoes = ()

    def serve(self):
        for line in sys.stdin.buffer:
            message = json.loads(line)
            act = {"initialize": self.initialize, "stage/invoke": self.invoke, "shutdown": self.shutdown}
            act["stage/compensate"] = self.compensate
            if "id" in message:
                act.get(message["method"], self.polite)(message["id"], message["params"])

    def initialize(self, number, params):
        stages = {name: {"async": False} for name in params["stages"]}
        for name, undone in self.undoes:
            stages[name]["undoes"] = undone
        self.answer(number, {"protocol": "1.0", "plugin": params["plugin"], "stages": stages})

    def invoke(self, number, params):
        self.answer(number, OK)

    def compensate(self, number, params):
        self.answer(number, OK)

    def polite(self, number, params):
        self.answer(number, OK)

    def shutdown(self, number, params):
        self.answer(number, OK)
        sys.exit(0)

    def answer(self, number, result):
        self.send({"jsonrpc": "2.0", "id": number, "result": result})

    def send(self, message):
        self.write(json.dumps(message).encode() + b"\n")

    def write(self, data):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
