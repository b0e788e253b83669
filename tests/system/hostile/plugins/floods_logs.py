"""Writes tens of thousands of log notifications, then answers."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        line = b'{"jsonrpc":"2.0","method":"log","params":{"level":"info","message":"again"}}\n'
        self.write(line * 20_000)
        self.answer(number, {})


Hostile().serve()
