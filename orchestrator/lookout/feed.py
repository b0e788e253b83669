"""What one reader has not read yet: bounded. Whoever reads too slowly is told how much was left out, and where."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["MISSED", "Feed", "Missed"]

MISSED = "Missed"
"""What such an object says of itself; no other one of these streams has a `type`."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Missed:
    """So many items stood here, and there was no room for them."""

    count: int

    def as_json(self) -> dict[str, object]:
        """As a stream tells it."""
        return {"type": MISSED, "count": self.count}


class Feed(Generic[_Item]):
    """A queue with one reader that never makes its writers wait. It belongs to the event loop's thread.

    `lost` is called for each item that there was no room for.
    """

    def __init__(self, most_items: int, most_bytes: float = math.inf, lost: Callable[[], None] = lambda: None) -> None:
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._items = deque[tuple[_Item | Missed, int]]()
        self._lost = lost
        self._bytes = 0
        self._missed = 0
        self._filled = asyncio.Event()

    def put(self, item: _Item, size: int = 0) -> None:
        """Queue an item of `size` bytes, or count it where there is no room."""
        full = len(self._items) >= self._most_items or self._bytes + size > self._most_bytes
        if full and self._items:
            self._missed += 1
            self._lost()
            return
        self._note_missed()
        self._items.append((item, size))
        self._bytes += size
        self._filled.set()

    def _note_missed(self) -> None:
        if self._missed:
            self._items.append((Missed(self._missed), 0))
            self._missed = 0

    async def read(self) -> AsyncGenerator[_Item | Missed, None]:
        """Every item as it comes; a Missed where some did not fit. Has no end."""
        while True:
            self._note_missed()
            while self._items:
                item, size = self._items.popleft()
                self._bytes -= size
                yield item
                if not self._items:
                    self._note_missed()
            self._filled.clear()
            await self._filled.wait()
