"""What is written down of changes: what became of each, why one was refused, and which content is passed over."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from orchestrator.events import ChangeApplied, ChangeRefused, Event
from orchestrator.reload.change import Change
from orchestrator.revisions.candidates import Candidates
from orchestrator.revisions.history import Entry, History, Outcome
from orchestrator.revisions.refusal import ChangeNotMade, refusal_of
from orchestrator.revisions.revision import Revision

__all__ = ["Notes"]

log = logging.getLogger("penstock.revisions")


class Notes:
    """Writes the history, and says what everybody should hear of it.

    A disk that takes nothing is said in the log, and holds up no change. `refused` is the change that was refused
    last, as long as none was made since.
    """

    def __init__(self, history: History, candidates: Candidates, publish: Callable[[Event], None]) -> None:
        self.refused: Entry | None = None
        self._history = history
        self._candidates = candidates
        self._publish = publish

    async def made(self, revision: Revision, change: Change, outcome: Outcome, after: int, reason: str = "") -> None:
        """Write down that a revision was put into service, or on trial, `after` another."""
        of = 0 if revision.of == revision.number else revision.of
        entry = Entry(
            at=time.time(),
            by=revision.by,
            outcome=outcome,
            number=revision.number,
            after=after,
            of=of,
            reason=reason,
            commit=await self._commit(of),
            files=tuple(sorted(revision.loaded.archive.files)),
            change=change.record(),
        )
        await self._write(entry)
        self.refused = None

    async def _commit(self, of: int) -> str:
        """The commit that the plan is from: what the folder holds now has nothing to do with an earlier one."""
        if not of:
            return await asyncio.to_thread(self._candidates.commit)
        first = self._history.entry(of)
        return "" if first is None else first.commit

    def tell(self, revision: Revision, change: Change, outcome: Outcome, reason: str) -> None:
        """Tell everybody that a change was made."""
        self._publish(ChangeApplied(revision.number, revision.by, change.record()))
        if outcome is Outcome.APPLIED:
            said = {"revision": revision.number, "by": revision.by, "reason": reason}
            log.info("revision.applied", extra=said)

    async def became(self, number: int, by: str, outcome: Outcome, reason: str = "") -> None:
        """Write down what became of a revision that has an entry already."""
        said = self._history.entry(number)
        if said is None:
            entry = Entry(time.time(), by, outcome, number=number, reason=reason)
        else:
            entry = msgspec.structs.replace(said, at=time.time(), by=by, outcome=outcome, reason=reason)
        await self._write(entry)

    async def refuse(self, error: Exception, by: str) -> ChangeNotMade:
        """Tell everybody why a change was not made, and write it down."""
        refused = refusal_of(error)
        self.refused = Entry(
            at=time.time(),
            by=by,
            outcome=Outcome.REFUSED,
            code=refused.code,
            reason=str(refused),
            where=refused.where,
            commit=await asyncio.to_thread(self._candidates.commit),
        )
        log.error("change.refused", extra={"by": by, "reason": str(refused)})
        await self._write(self.refused)
        self._publish(ChangeRefused(by, refused.code, str(refused), refused.where))
        return refused

    async def pass_over(self) -> None:
        """Neither the watch nor a start must bring back what the files hold now."""
        await self._passed_over(await asyncio.to_thread(self._candidates.look))

    async def follow_again(self) -> None:
        """The files are in service: nothing of them is passed over any more."""
        if self._history.passed_over:
            await self._passed_over("")

    async def _passed_over(self, content: str) -> None:
        try:
            await asyncio.to_thread(self._history.pass_over, content)
        except OSError as error:
            log.error("history.not_written", extra={"reason": error.strerror or str(error)})

    async def _write(self, entry: Entry) -> None:
        try:
            await asyncio.to_thread(self._history.add, entry)
        except OSError as error:
            log.warning("history.not_written", extra={"reason": error.strerror or str(error)})
