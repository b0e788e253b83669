"""A journal's submissions as something to await, for those who do one thing at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TypeVar

from orchestrator.journal.errors import JournalError
from orchestrator.journal.journal import Journal
from orchestrator.journal.rows import RunUpdate
from orchestrator.journal.submission import Done

__all__ = ["AwaitedJournal"]

_Value = TypeVar("_Value")


class AwaitedJournal:
    """Every method raises JournalError, and returns when what it asked for is on the disk."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def put_plan(self, digest: str, body: bytes) -> None:
        """Archive a plan."""

        def submit(done: Done) -> None:
            self._journal.put_plan(digest, body, done)

        await _outcome(submit)

    async def mark(self, run: str, update: RunUpdate) -> None:
        """Change a run's row."""

        def submit(done: Done) -> None:
            self._journal.mark(run, update, done)

        await _outcome(submit)

    async def prune(self, before: float | None, keep: int | None, plans: Collection[str] | None = None) -> int:
        """Remove runs that are over, and plans that nobody needs; see Journal.prune."""
        return await _outcome(lambda done: self._journal.prune(before=before, keep=keep, done=done, plans=plans))

    async def rekey(self) -> int:
        """Encrypt everything with a fresh key; see Journal.rekey."""
        return await _outcome(self._journal.rekey)


async def _outcome(submit: Callable[[Callable[[_Value | JournalError], None]], None]) -> _Value:
    done: asyncio.Future[_Value] = asyncio.get_running_loop().create_future()

    def told(outcome: _Value | JournalError) -> None:
        if done.cancelled():
            return
        if isinstance(outcome, JournalError):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)

    submit(told)
    return await done
