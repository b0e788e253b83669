"""Does everything right: the neighbour of the others."""

from peer import Peer

Peer().serve()
