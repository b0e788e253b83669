"""Asks the host for things, and then answers."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        for want in range(20):
            self.send({"jsonrpc": "2.0", "id": want, "method": "files/read", "params": {"path": "/etc/shadow"}})
        self.answer(number, {})


Hostile().serve()
