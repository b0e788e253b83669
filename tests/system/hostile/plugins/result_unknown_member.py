"""Answers with a member that no stage's answer has."""

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{"allow":true}}\n' % number)


Hostile().serve()
