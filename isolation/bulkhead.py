"""What one plugin may take up: how many calls are with its workers, and how many wait. No worker is touched here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["DEFAULT_QUEUE", "Bulkhead"]

DEFAULT_QUEUE = 1024
"""Calls that may wait for a free place before callers are told that the plugin is busy."""

Entry = TypeVar("Entry", bound=Hashable)


class Bulkhead(Generic[Entry]):
    """The calls that wait, in the order in which they came. `concurrency` is None where only workers' windows bound.

    Whoever gives up while it waits has to `leave`: its place is free in that moment, wherever in the row it stood.
    """

    __slots__ = ("concurrency", "queue", "waiting")

    def __init__(self, concurrency: int | None, queue: int) -> None:
        self.concurrency = concurrency
        self.queue = queue
        self.waiting = OrderedDict[Entry, None]()
        """Oldest first; for others to look at."""

    def admits(self, owed: int) -> bool:
        """Whether one more call may go to a worker when workers owe the answers to `owed`."""
        return self.concurrency is None or owed < self.concurrency

    def wait(self, entry: Entry) -> bool:
        """Stand at the end of the row; False when it is full."""
        if len(self.waiting) >= self.queue:
            return False
        self.waiting[entry] = None
        return True

    def leave(self, entry: Entry) -> None:
        """Give the place back; nothing happens when the entry does not wait."""
        self.waiting.pop(entry, None)

    def next(self) -> Entry:
        """Take the oldest out of the row; there must be one."""
        return self.waiting.popitem(last=False)[0]

    def put_back(self, entry: Entry) -> None:
        """Stand at the head of the row, full or not: what has had its turn and was not taken is not sent away."""
        self.waiting[entry] = None
        self.waiting.move_to_end(entry, last=False)
