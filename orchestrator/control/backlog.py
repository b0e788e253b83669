"""What a listener has not taken yet, bounded: who listens too slowly is told what was missed, and holds up nobody."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping

__all__ = ["Backlog"]

BACKLOG_ITEMS = 1000
"""Enough for a burst of a second; a listener that is further behind is not reading."""

Item = Mapping[str, object]


class Backlog:
    """Items in the order of `put`; of too many the oldest go, and `{"type": "Missed", "count": N}` stands for them.

    `lost` is called for each that goes.
    """

    def __init__(self, limit: int = BACKLOG_ITEMS, lost: Callable[[], None] = lambda: None) -> None:
        self._items = deque[Item]()
        self._limit = limit
        self._lost = lost
        self._missed = 0
        self._filled = asyncio.Event()

    def put(self, item: Item) -> None:
        """Add one. Never waits."""
        if len(self._items) == self._limit:
            self._items.popleft()
            self._missed += 1
            self._lost()
        self._items.append(item)
        self._filled.set()

    async def taken(self) -> AsyncIterator[Item]:
        """Each item as it comes, without end."""
        while True:
            await self._filled.wait()
            if self._missed:
                missed, self._missed = self._missed, 0
                yield {"type": "Missed", "count": missed}
            else:
                yield self._items.popleft()
            if not self._items:
                self._filled.clear()
