"""Who is at the other end of a connection, and whether still."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import Scope

from orchestrator.control.refusal import Actor, actor_of

__all__ = ["Peer", "peer_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Peer:
    """`lost` is done when the connection is."""

    uid: int | None
    transport: asyncio.Transport
    lost: asyncio.Future[None]

    @property
    def actor(self) -> Actor:
        """As commands know it."""
        return actor_of(self.uid)


def peer_of(scope: Scope) -> Peer:
    """The peer that the connection put into a request's scope."""
    found = scope["state"]["peer"]
    assert isinstance(found, Peer)
    return found
