"""Does not say what its stage undoes."""

from peer import Peer

Peer().serve()
