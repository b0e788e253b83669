"""What is handed to a journal's writer, and what comes back: values that cross between two threads."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from orchestrator.journal.errors import JournalError
from orchestrator.journal.rows import EventRow, RunRow, RunUpdate

__all__ = ["Begin", "Chore", "Chores", "Counted", "Done", "Mark", "Note", "Outcome", "PutPlan", "Submission"]

Done = Callable[[JournalError | None], None]
"""Called once, on the event loop's thread: None when the submission is on the disk, else why it is not."""

Counted = Callable[[int | JournalError], None]
"""The same for what counts something."""

ROW_BYTES = 512
"""What a row takes in memory and in the log besides its body."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A new run with its first event."""

    run: RunRow
    event: EventRow
    done: Done

    @property
    def cost(self) -> int:
        """Bytes to account for."""
        return 2 * ROW_BYTES + len(self.run.body) + len(self.event.body)


@dataclass(frozen=True, slots=True)
class Note:
    """The next event of a run."""

    event: EventRow
    update: RunUpdate | None
    done: Done

    @property
    def cost(self) -> int:
        """Bytes to account for."""
        return ROW_BYTES + len(self.event.body)


@dataclass(frozen=True, slots=True)
class Mark:
    """A change of a run's row."""

    run: str
    update: RunUpdate
    done: Done

    @property
    def cost(self) -> int:
        """Bytes to account for."""
        return ROW_BYTES


@dataclass(frozen=True, slots=True)
class PutPlan:
    """A plan to archive."""

    digest: str
    body: bytes
    done: Done

    @property
    def cost(self) -> int:
        """Bytes to account for."""
        return ROW_BYTES + len(self.body)


Submission = Begin | Note | Mark | PutPlan

Chores = Generator[None, None, int]
"""Work of several transactions: each `next` is one of them, bounded, with nothing left open; returns a count."""


@dataclass(frozen=True, slots=True)
class Chore:
    """Work that the writer does between groups, one bounded transaction at a time."""

    start: Callable[[], Chores]
    done: Counted
    cost = ROW_BYTES


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the loop's thread has to do for one submission."""

    tell: Callable[[], None]
    cost: int
