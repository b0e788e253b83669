"""Applies what is saved: told that something changed, it looks whether the content did, and asks for the change once.

Content that somebody has looked at is not looked at again, whatever came of it: it was refused, or rolled back from, or
serves. A command may ask for it at any time.
"""

from __future__ import annotations

import asyncio
import contextlib

from orchestrator.loading import Footprint
from orchestrator.revisions.freezing import Freezing
from orchestrator.revisions.refusal import ChangeNotMade
from orchestrator.revisions.revisions import Revisions

__all__ = ["WATCHER", "Follower"]

WATCHER = "watcher"
"""Who wanted a change that was only saved."""


class Follower:
    """`look` is called after something changed; one look waits for the other."""

    def __init__(self, revisions: Revisions, freezing: Freezing) -> None:
        self._revisions = revisions
        self._freezing = freezing
        self._turn = asyncio.Lock()

    @property
    def footprint(self) -> Footprint:
        """What is to be watched now."""
        return self._revisions.candidates.footprint

    async def look(self) -> None:
        """Apply the content, if it is another one than that looked at last."""
        async with self._turn:
            if self._freezing.on or not await asyncio.to_thread(self._revisions.candidates.differs):
                return
            with contextlib.suppress(ChangeNotMade):  # it is written down, and told to everybody who listens
                await self._revisions.apply(WATCHER)
