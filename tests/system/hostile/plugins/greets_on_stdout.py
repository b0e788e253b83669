"""Greets on stdout before it speaks the protocol."""

from peer import Peer

print("Welcome to my plugin!", flush=True)
Peer().serve()
