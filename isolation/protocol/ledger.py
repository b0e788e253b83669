"""Which calls a worker owes an answer. Every id is answered exactly once, abandoned ones too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Ledger", "UnknownId"]

Entry = TypeVar("Entry")


class UnknownId(Exception):
    """An answer to a call that was never made, or was answered before."""


class Ledger(Generic[Entry]):
    """Outstanding calls in the order in which they were written; ids count from 1 and never return."""

    __slots__ = ("_entries", "_next")

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    @property
    def issued(self) -> int:
        """The newest id, 0 before the first."""
        return self._next

    def issue(self, entry: Entry) -> int:
        """Note a call that is being written and return its id."""
        self._next += 1
        self._entries[self._next] = entry
        return self._next

    def settle(self, number: int) -> Entry:
        """Cross off the call that `number` answers; raises UnknownId."""
        entry = self._entries.pop(number, None)
        if entry is None:
            state = "was answered before" if 0 < number <= self._next else "was never asked"
            raise UnknownId(f"answer to id {number}, which {state}")
        return entry

    def holds(self, number: int) -> bool:
        """Whether the call with this id is still unanswered."""
        return number in self._entries

    def oldest(self) -> Entry | None:
        """Return the unanswered call that was written first: the one a sequential worker is at."""
        return next(iter(self._entries.values()), None)

    def take_back(self, after: int) -> list[Entry]:
        """Cross off what was issued after the id `after`, oldest first: it was never written. The ids are used up."""
        return [self._entries.pop(number) for number in range(after + 1, self._next + 1) if number in self._entries]

    def close(self) -> list[Entry]:
        """Cross off everything, oldest first: the worker is gone."""
        entries = list(self._entries.values())
        self._entries.clear()
        return entries
