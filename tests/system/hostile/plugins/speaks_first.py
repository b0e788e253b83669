"""Answers before it was asked anything."""

from peer import Peer

peer = Peer()
peer.answer(1, {"protocol": "1.0"})
peer.serve()
