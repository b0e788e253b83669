"""Writes a line without end before the handshake."""

from peer import Peer

while True:
    Peer().write(b"x" * 65536)
