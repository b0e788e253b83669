"""Writes its answer one byte at a time."""

import json

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        for byte in json.dumps({"jsonrpc": "2.0", "id": number, "result": {}}).encode() + b"\n":
            self.write(bytes([byte]))


Hostile().serve()
