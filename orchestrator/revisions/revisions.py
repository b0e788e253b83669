"""The revisions of a host: what there is, and what may be asked for.

A change is prepared and started beside what serves; routing is swapped in one assignment when all of it is ready.
Whatever goes wrong before that is a refusal and leaves everything as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from isolation.errors import IsolationError
from isolation.generation import Generation
from isolation.store.store import Store
from orchestrator.engine.traversal import Traversal
from orchestrator.events import Event
from orchestrator.generations import Fleet, Report
from orchestrator.reload.change import difference
from orchestrator.revisions.archive import ArchivedRevision
from orchestrator.revisions.beginning import Beginning
from orchestrator.revisions.candidates import Candidates
from orchestrator.revisions.drain import Drain
from orchestrator.revisions.following import Applied, Following, UnderWay
from orchestrator.revisions.generations import Generations
from orchestrator.revisions.history import Entry, Outcome
from orchestrator.revisions.leases import Leases
from orchestrator.revisions.living import Draining, Living
from orchestrator.revisions.notes import Notes
from orchestrator.revisions.plans import Plans, archived
from orchestrator.revisions.refusal import refusal_of
from orchestrator.revisions.revision import Candidate, Revision
from orchestrator.revisions.succession import Asked, Succession
from orchestrator.revisions.trial import Trial
from orchestrator.revisions.trials import Trials
from orchestrator.revisions.turns import Turns
from pipelines.problem import SpecError

if TYPE_CHECKING:
    from orchestrator.engine.engine import Engine
    from orchestrator.resilience.breakers import Breakers

__all__ = ["Revisions"]


def _silent(_: object) -> None:
    """Report to nobody."""


class Revisions:
    """Use it as an async context manager, `first` before all else. Changes are made one after another.

    What serves is `current`; `engine` is given its routes. Leaving gives up the change that is being made and stops
    waiting for what drains. `let_go` comes last.

    A change is made to its end: who stops waiting for it stops nothing.
    """

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        breakers: Breakers,
        plans: Plans,
        candidates: Candidates,
        publish: Callable[[Event], None],
    ) -> None:
        self.history = plans.history
        self.candidates = candidates
        self.living = Living()
        self._plans = plans
        self._turns = Turns()
        self._notes = Notes(plans.history, candidates, publish)
        self._leases = Leases(store, plans.history)
        self._generations = Generations(fleet, breakers, self.living)
        drain = Drain(self.living, self._generations, plans, self._leases, self._turns, publish)
        self._trials = Trials(self.living, drain, self._notes, self._turns, publish)
        succession = Succession(self.living, self._generations, plans, drain, self._trials, self._turns)
        self._following = Following(
            self.living, plans, self._leases, self._notes, self._trials, succession, self._turns
        )

    async def __aenter__(self) -> Revisions:
        await self._turns.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._turns.__aexit__(kind, error, trace)

    def let_go(self) -> None:
        """Give back all that the store lent. For when no process is left that uses it."""
        self._leases.let_go()

    # What there is.

    @property
    def current(self) -> Revision:
        """The one that serves."""
        return self.living.current

    @property
    def trial(self) -> Trial | None:
        """The one on trial, if any."""
        return self.living.trial

    @property
    def under_way(self) -> UnderWay | None:
        """The change that is being made, if any."""
        return self._following.under_way

    @property
    def engine(self) -> Engine:
        """What gives calls to revisions."""
        return self.living.engine

    @engine.setter
    def engine(self, engine: Engine) -> None:
        self.living.engine = engine

    @property
    def draining(self) -> tuple[Draining, ...]:
        """What takes no new calls and is needed still, oldest first."""
        return self.living.draining

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Every generation that has workers, or is about to: those that serve, are on trial, drain, or start."""
        return self._generations.fleet.generations

    @property
    def refused(self) -> Entry | None:
        """The change that was refused last, as long as none was made since."""
        return self._notes.refused

    @property
    def undo_seconds(self) -> float:
        """The longest that a run of any revision may undo what it did."""
        return self.living.undo_seconds

    def ended(self, run: Traversal) -> None:
        """Take in a run that is over."""
        self._trials.ended(run)

    # What may be asked for.

    async def first(
        self, made: Callable[[Report], Candidate], report: Report, *, follows_files: bool = False
    ) -> Revision:
        """Start what is to serve when the host starts: what `made` makes of the files, or what served last.

        The latter where the files hold what was rolled back from or on trial, unless they are to be followed in any
        case. Raises what `made` does, StartFailures, ChangeNotMade, JournalError and OSError.
        """
        last = self.history.latest_served
        beginning = Beginning(self.candidates, self._plans, self._leases, self._generations)
        revision = self.living.current = await beginning.revision(made, report, follows_files=follows_files)
        if revision.number != last:
            await self._notes.made(revision, difference(None, revision.candidate.outline), Outcome.APPLIED, last)
        if follows_files:
            await self._notes.follow_again()
        await self._leases.hold_plans()
        return revision

    async def apply(self, by: str, report: Report = _silent) -> Applied:
        """Put into service what the files say now. Raises ChangeNotMade."""
        return await self._turns.take(
            self._following.follow(Asked(by, self.candidates.from_files, report, follows_files=True))
        )

    async def plan(self) -> Applied:
        """What `apply` would do, without doing it: nothing is built, started or written. Raises ChangeNotMade.

        `revision` is what the files were compared with.
        """
        try:
            outline = await asyncio.to_thread(self.candidates.outline_of_files)
        except (SpecError, IsolationError) as error:
            raise refusal_of(error) from error
        known, change = self.living.change_to(outline)
        return Applied(known, change, self._following.foreseen(known, change))

    async def rollback(self, to: int | None, by: str, report: Report = _silent) -> Applied:
        """Put an earlier revision into service again, the one before where `to` is None; or end the trial, if any.

        It waits for no build: a change that is only being prepared gives way. Raises ChangeNotMade and NoSuchRevision.
        """
        # What cannot be done gives nothing up. Where it leads is not known as long as what serves is not written down.
        if to is not None or (self.trial is None and self.history.outcome(self.current.number) is not None):
            self._goal(to)
        return await self._turns.take(self._roll_back(to, by, report), urgent=True)

    async def again(self, by: str, reason: str) -> Applied:
        """Put what serves into service once more, with the overrides that are in force now. Raises ChangeNotMade."""
        return await self._turns.take(self._once_more(by, reason))

    def split(self, percent: float) -> Trial:
        """Give another part of the calls to the revision on trial. Raises ChangeNotMade where there is none."""
        return self._trials.split(percent)

    async def promote(self, by: str) -> Revision:
        """Give all calls to the revision on trial. Raises ChangeNotMade where there is none."""
        return await self._turns.take(self._promote(self._trials.asked_for(), by))

    async def abort(self, by: str, reason: str) -> Revision:
        """End the trial; what served before serves all calls. Raises ChangeNotMade where there is none."""
        return await self._turns.take(self._end(self._trials.asked_for(), by, reason))

    # How it is made, in its turn.

    async def _promote(self, asked: Trial, by: str) -> Revision:
        revision = await self._trials.promote(asked, by)
        await self._leases.hold_plans()
        return revision

    async def _end(self, asked: Trial, by: str, reason: str) -> Revision:
        self._trials.asked_for(asked)
        await self._notes.pass_over()
        await self._trials.abort(reason, by)
        return self.current

    async def _roll_back(self, to: int | None, by: str, report: Report) -> Applied:
        applied = await self._back(to, by, report)
        if applied.outcome is not None:
            await self._notes.pass_over()
        return applied

    async def _back(self, to: int | None, by: str, report: Report) -> Applied:
        if self.trial is not None and to is None:
            change = difference(self.trial.revision.candidate.outline, self.current.candidate.outline)
            await self._trials.abort("rolled back", by)
            return Applied(self.current, change.at_once, Outcome.ABORTED)
        number = self._goal(to)
        archive = await asyncio.to_thread(self.history.archive, number)
        made = partial(self._from_archive, archive)
        return await self._following.follow(Asked(by, made, report, of=self.history.plan_of(number)))

    def _goal(self, to: int | None) -> int:
        """The revision that a rollback leads to. Raises NoSuchRevision."""
        number = self.history.before(self.current.number) if to is None else to
        if number != self.current.number and self.history.outcome(number) is None:
            self.history.archive(number)  # says which there are
        return number

    async def _once_more(self, by: str, reason: str) -> Applied:
        made = partial(self._from_archive, archived(self.current.candidate))
        return await self._following.follow(Asked(by, made, _silent, of=self.current.of, reason=reason))

    def _from_archive(self, archive: ArchivedRevision, _: Report) -> Candidate:
        return self.candidates.from_archive(archive)
