"""A change from beginning to end: its candidate, what differs, the succession, and what is written down of it."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass

from isolation.errors import IsolationError
from orchestrator.journal.errors import JournalError
from orchestrator.reload.change import Change
from orchestrator.revisions.history import Outcome
from orchestrator.revisions.leases import Leases
from orchestrator.revisions.living import Living
from orchestrator.revisions.notes import Notes
from orchestrator.revisions.plans import Plans
from orchestrator.revisions.refusal import ChangeNotMade
from orchestrator.revisions.revision import Candidate, Revision
from orchestrator.revisions.succession import Asked, Succession
from orchestrator.revisions.trials import Trials, splits_on_trial
from orchestrator.revisions.turns import Turns
from pipelines.problem import SpecError

__all__ = ["Applied", "Following", "UnderWay"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a change. `revision` serves now, or is on trial; `change` is empty where nothing differed."""

    revision: Revision
    change: Change
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A change that is being made: who wanted it, and since when, in seconds since 1970."""

    by: str
    since: float


class Following:
    """Makes changes that were asked for, or refuses them. The caller has the turn."""

    under_way: UnderWay | None = None

    def __init__(
        self,
        living: Living,
        plans: Plans,
        leases: Leases,
        notes: Notes,
        trials: Trials,
        succession: Succession,
        turns: Turns,
    ) -> None:
        self._living = living
        self._plans = plans
        self._leases = leases
        self._notes = notes
        self._trials = trials
        self._succession = succession
        self._turns = turns

    async def follow(self, asked: Asked) -> Applied:
        """Make a change. Raises ChangeNotMade, with everything as it was."""
        self.under_way = UnderWay(asked.by, time.time())
        try:
            return await self._followed(asked)
        finally:
            self.under_way = None

    async def _followed(self, asked: Asked) -> Applied:
        try:
            candidate = await self._candidate(asked)
        except (SpecError, IsolationError, ChangeNotMade) as error:
            raise await self._notes.refuse(error, asked.by) from error
        known, change = self._living.change_to(candidate.outline)
        change = change if asked.follows_files else change.at_once
        if change.empty:
            self._leases.release(candidate)
            return await self._unchanged(known, change, asked.by)
        return await self._changed(asked, candidate, change)

    async def _candidate(self, asked: Asked) -> Candidate:
        # What serves again is there and builds nothing: only a change of the files may take long.
        async with self._turns.giving_way() if asked.follows_files else nullcontext():
            return await self._leases.candidate(asked.made, asked.report)

    def foreseen(self, known: Revision, change: Change) -> Outcome | None:
        """What comes of a change of the files, unless it is refused."""
        if not change.empty:
            return Outcome.CANARY if change.trial else Outcome.APPLIED
        return None if self._living.trial is None or known is not self._living.current else Outcome.ABORTED

    async def _unchanged(self, known: Revision, change: Change, by: str) -> Applied:
        """Make nothing of what is in service already. What was on trial is not wanted any more where that serves."""
        self._notes.refused = None
        if self.foreseen(known, change) is None:
            return Applied(known, change, None)
        await self._trials.abort("what served before was put into place again", by)
        return Applied(known, change, Outcome.ABORTED)

    async def _changed(self, asked: Asked, candidate: Candidate, change: Change) -> Applied:
        before, trial, number = self._living.current.number, self._living.trial, self._plans.history.next_number
        try:
            splits = splits_on_trial(candidate, change)
            revision = await self._succession.bring_up(asked, candidate, change, splits)
        except (IsolationError, ChangeNotMade, JournalError, OSError) as error:
            self._undo_keeping(candidate, number)
            await self._trials.note_end(trial, asked.by)
            await self._plans.tidy()
            raise await self._notes.refuse(error, asked.by) from error
        except BaseException:
            self._undo_keeping(candidate, number)
            raise
        await self._trials.note_end(trial, asked.by)
        if asked.follows_files:
            await self._notes.follow_again()
        outcome = Outcome.CANARY if splits else Outcome.APPLIED
        await self._notes.made(revision, change, outcome, before, asked.reason)
        await self._leases.hold_plans()
        self._notes.tell(revision, change, outcome, asked.reason)
        return Applied(revision, change, outcome)

    def _undo_keeping(self, candidate: Candidate, number: int) -> None:
        self._plans.history.discard(number)
        self._leases.release(candidate)
