"""The revisions of a host: which one serves, which are on trial or drain, and how one follows another.

A change is prepared and started beside what serves; routing is swapped in one assignment when all of it is ready.
Whatever goes wrong before that is a refusal and leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from isolation.errors import IsolationError
from isolation.generation import Generation
from isolation.store.store import Store
from orchestrator.engine.wiring import Route, Serving
from orchestrator.events import (
    CanaryAborted,
    CanaryPromoted,
    CanaryStarted,
    ChangeApplied,
    ChangeRefused,
    Event,
    RevisionDraining,
    RevisionGone,
)
from orchestrator.generations import Fleet, Report, Wanted
from orchestrator.journal.errors import JournalError
from orchestrator.loading import Loaded
from orchestrator.reload.change import Action, Change, difference
from orchestrator.reload.outline import Outline
from orchestrator.revisions.archive import ArchivedRevision, archived_plan
from orchestrator.revisions.candidates import Candidates
from orchestrator.revisions.history import Entry, History, NoSuchRevision, Outcome
from orchestrator.revisions.refusal import ChangeNotMade, refusal_of
from orchestrator.revisions.revision import Candidate, Revision
from orchestrator.revisions.selftest import self_test
from orchestrator.revisions.trial import Trial, splits_of
from orchestrator.secrets import Handover
from pipelines.plan import PipelinePlan, Plan, SplitPlan
from pipelines.problem import SpecError

if TYPE_CHECKING:
    from orchestrator.durable.durability import Durability
    from orchestrator.engine.engine import Engine
    from orchestrator.engine.traversal import Traversal
    from orchestrator.resilience.breakers import Breakers

__all__ = ["KEPT_REVISIONS", "Applied", "Draining", "Revisions"]

log = logging.getLogger("penstock.revisions")

KEPT_REVISIONS = 3
"""Earlier ones whose snapshots and environments stay, so that a rollback builds nothing."""

ANOTHER_CHANGE = "another change was made"

CANARY = "canary"
"""Who wanted a trial ended that was judged to be worse."""

NO_JOURNAL_HINT = "start the host again, or use `penstock serve`, which always has one"

NOT_HAD_HINT = "change the files, or say `penstock serve --from-files` to serve what they hold all the same"

NO_CANARY_HINT = "a change is put on trial where a stage that uses the plugin has `split`"

ANSWER_SECONDS = 1.0
"""What an answer takes beyond the deadline of its pipeline: its way here, a sync of the journal."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a change. `revision` serves now, or is on trial; `change` is empty where nothing differed."""

    revision: Revision
    change: Change
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Draining:
    """A revision that takes no new calls, and the runs that hold it."""

    revision: Revision
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where the plan of a revision to be is kept: its number, and its digest in the journal."""

    number: int
    origin: str


class Join(Protocol):
    """Joins a plan with its generations."""

    def __call__(
        self,
        loaded: Loaded,
        generations: Mapping[str, Generation],
        handed: Mapping[str, Handover],
        origin: str,
        revision: int,
    ) -> Mapping[str, tuple[Route, ...]]:
        """The routes of every hook. `origin` is the digest under which the journal keeps the plan."""


_Value = TypeVar("_Value")


class Revisions:
    """Use it as an async context manager, `first` before all else. Changes are made one after another.

    What serves is `current`; `engine` is given its routes. Where runs are not `journaled`, durable pipelines need no
    journal. Leaving gives up the change that is being made and stops waiting for what drains. `let_go` comes last.

    A change is made to its end: who stops waiting for it stops nothing.
    """

    current: Revision
    engine: Engine
    durability: Durability | None = None
    journaled = True

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        breakers: Breakers,
        history: History,
        candidates: Candidates,
        join: Join,
        publish: Callable[[Event], None],
    ) -> None:
        self.history = history
        self.refused: Entry | None = None
        self.candidates = candidates
        self._store = store
        self._fleet = fleet
        self._breakers = breakers
        self._join = join
        self._publish = publish
        self.trial: Trial | None = None
        self._turn = asyncio.Lock()
        self._draining: dict[int, Revision] = {}
        self._kept = deque[Revision]()
        self._lent = set[Candidate]()
        self._closing = False
        self._group = asyncio.TaskGroup()
        self._tasks = set[asyncio.Task[None]]()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Revisions:
        await self._stack.enter_async_context(self._group)
        self._stack.callback(self._give_up)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def _give_up(self) -> None:
        self._closing = True
        for task in self._tasks:
            task.cancel()

    def let_go(self) -> None:
        """Give back all that the store lent. For when no process is left that uses it."""
        for candidate in tuple(self._lent):
            self._release(candidate)

    # What there is.

    @property
    def draining(self) -> tuple[Draining, ...]:
        """What takes no new calls and is needed still, oldest first."""
        return tuple(Draining(one, self.engine.holders(number)) for number, one in sorted(self._draining.items()))

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Every generation that has workers, or is about to: those that serve, are on trial, drain, or start."""
        return self._fleet.generations

    def _living(self) -> Iterable[Revision]:
        yield self.current
        if self.trial is not None:
            yield self.trial.revision
        yield from self._draining.values()

    # Coming into service.

    async def first(
        self, made: Callable[[Report], Candidate], report: Report, *, follows_files: bool = False
    ) -> Revision:
        """Start what is to serve when the host starts: what `made` makes of the files, or what served last.

        The latter where the files hold what was rolled back from or on trial, unless they are to be followed in any
        case. Raises what `made` does, StartFailures, ChangeNotMade, JournalError and OSError.
        """
        last = self.history.latest_served
        why = await asyncio.to_thread(self._why_not_files) if last and not follows_files else ""
        if why:
            candidate = await self._candidate(partial(self._as_served, last, why), report)
        else:
            candidate = await self._candidate(made, report)
        number = self._number_again(candidate, last)
        kept: _Kept | None = None
        try:
            kept = await self._kept_plan(candidate, number)
            generations = await self._fleet.start(candidate.wanted, report)
            await self._tested(candidate, generations)
        except BaseException:
            self._release(candidate)
            if not number and kept is not None:
                self.history.discard(kept.number)
            raise
        of = self.history.plan_of(number) if number else 0
        self.current = self._revision(candidate, generations, kept, "start", of)
        if not number:
            await self._note(self.current, difference(None, candidate.outline), Outcome.APPLIED, last)
        await self._hold_plans()
        return self.current

    def _as_served(self, last: int, why: str, _: Report) -> Candidate:
        log.warning("revision.kept", extra={"revision": last, "reason": why})
        try:
            return self.candidates.from_archive(self.history.archive(last))
        except (SpecError, IsolationError, NoSuchRevision) as error:
            message = f"{why}, and revision {last}, which served then, cannot be had any more: {error}"
            raise ChangeNotMade("penstock.not_had", message, hint=NOT_HAD_HINT) from error

    def _why_not_files(self) -> str:
        """Why a start serves what served last and not what the files hold; "" where it serves those. Blocks."""
        if self.history.on_trial:
            return "what the files hold was on trial when the host ended"  # the watch puts it on trial again
        if self.history.passed_over and self.history.passed_over == self.candidates.look():
            return "the files hold what was rolled back from"  # to put it into service after all is `apply`'s
        return ""

    async def _candidate(self, made: Callable[[Report], Candidate], report: Report) -> Candidate:
        """Make one in a thread. Who is given up meanwhile leaves nothing behind."""
        making = asyncio.get_running_loop().run_in_executor(None, made, report)
        try:
            candidate = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(self._unwanted)
            raise
        self._lent.add(candidate)
        return candidate

    def _unwanted(self, making: asyncio.Future[Candidate]) -> None:
        if not making.cancelled() and making.exception() is None:
            self._lent.add(making.result())
            self._release(making.result())

    def _number_again(self, candidate: Candidate, last: int) -> int:
        """The number of the last revision where nothing has changed since; else 0."""
        try:
            known = self.history.archive(last) if last else None
        except NoSuchRevision:
            return 0
        return last if known is not None and known == _archived(candidate) else 0

    async def apply(self, by: str, report: Report = lambda event: None) -> Applied:
        """Put into service what the files say now. Raises ChangeNotMade."""
        return await self._in_turn(self._follow(by, 0, self.candidates.from_files, report, follows_files=True))

    async def plan(self) -> Change:
        """What `apply` would do, without doing it: nothing is built, started or written. Raises ChangeNotMade."""
        try:
            outline = await asyncio.to_thread(self.candidates.outline_of_files)
        except (SpecError, IsolationError) as error:
            raise refusal_of(error) from error
        return self._to(outline)[1]

    async def rollback(self, to: int | None, by: str, report: Report = lambda event: None) -> Applied:
        """Put an earlier revision into service again, the one before where `to` is None; or end the trial, if any.

        Raises ChangeNotMade and NoSuchRevision.
        """
        return await self._in_turn(self._roll_back(to, by, report))

    async def _roll_back(self, to: int | None, by: str, report: Report) -> Applied:
        applied = await self._back(to, by, report)
        if applied.outcome is not None:
            await self._pass_over()
        return applied

    async def _back(self, to: int | None, by: str, report: Report) -> Applied:
        if self.trial is not None and to is None:
            change = difference(self.trial.revision.candidate.outline, self.current.candidate.outline)
            await self._abort("rolled back", by)
            return Applied(self.current, change, Outcome.ABORTED)
        number = self.history.before(self.current.number) if to is None else to
        if number != self.current.number and self.history.outcome(number) is None:
            self.history.archive(number)  # says which there are
        archive = await asyncio.to_thread(self.history.archive, number)
        of = self.history.plan_of(number)
        return await self._follow(by, of, partial(self._from_archive, archive), report)

    async def again(self, by: str, reason: str) -> Applied:
        """Put what serves into service once more, with the overrides that are in force now. Raises ChangeNotMade."""
        return await self._in_turn(self._once_more(by, reason))

    async def _once_more(self, by: str, reason: str) -> Applied:
        archive = _archived(self.current.candidate)
        of = self.current.of
        made = partial(self._from_archive, archive)
        return await self._follow(by, of, made, lambda event: None, reason=reason)

    def _from_archive(self, archive: ArchivedRevision, _: Report) -> Candidate:
        return self.candidates.from_archive(archive)

    async def _in_turn(self, change: Coroutine[object, object, _Value]) -> _Value:
        """Make a change when those before it are made. Raises what it does, and ChangeNotMade when the host closes."""
        if self._closing:
            change.close()
            raise _stopping()
        done: asyncio.Future[_Value] = asyncio.get_running_loop().create_future()
        self._own(self._make(change, done))
        return await asyncio.shield(done)

    async def _make(self, change: Coroutine[object, object, _Value], done: asyncio.Future[_Value]) -> None:
        try:
            async with self._turn:
                done.set_result(await change)
        except Exception as error:  # noqa: BLE001  whoever asked for the change is told, a bug of ours included
            done.set_exception(error)
        finally:
            change.close()
            if not done.done():
                done.set_exception(_stopping())
            done.exception()  # nobody has to wait for it

    async def _follow(
        self,
        by: str,
        of: int,
        made: Callable[[Report], Candidate],
        report: Report,
        *,
        follows_files: bool = False,
        reason: str = "",
    ) -> Applied:
        try:
            candidate = await self._candidate(made, report)
        except (SpecError, IsolationError) as error:
            raise await self._refuse(error, by) from error
        known, change = self._to(candidate.outline)
        if change.empty:
            self._release(candidate)
            return await self._unchanged(known, change, by)
        before, trial, number = self.current.number, self.trial, self.history.next_number
        try:
            splits = _splits(candidate, change) if follows_files else {}
            outcome = Outcome.CANARY if splits else Outcome.APPLIED
            revision = await self._bring_up(candidate, change, by, of, report, splits)
        except (IsolationError, ChangeNotMade, JournalError, OSError) as error:
            self._undo_keeping(candidate, number)
            await self._note_end(trial, by)
            await self._tidy()
            raise await self._refuse(error, by) from error
        except BaseException:
            self._undo_keeping(candidate, number)
            raise
        await self._note_end(trial, by)
        if follows_files and self.history.passed_over:
            await self._note_passed_over("")
        await self._note(revision, change, outcome, before, reason)
        await self._hold_plans()
        self._publish(ChangeApplied(revision.number, by, change.record()))
        if outcome is Outcome.APPLIED:
            log.info("revision.applied", extra={"revision": revision.number, "by": by, "reason": reason})
        return Applied(revision, change, outcome)

    def _to(self, outline: Outline) -> tuple[Revision, Change]:
        """What gets to an outline, and from which revision: from the one on trial where that is it already."""
        if self.trial is not None:
            change = difference(self.trial.revision.candidate.outline, outline)
            if change.empty:
                return self.trial.revision, change
        return self.current, difference(self.current.candidate.outline, outline)

    async def _unchanged(self, known: Revision, change: Change, by: str) -> Applied:
        """Make nothing of what is in service already. What was on trial is not wanted any more where that serves."""
        self.refused = None
        if self.trial is None or known is not self.current:
            return Applied(known, change, None)
        await self._abort("what served before was put into place again", by)
        return Applied(known, change, Outcome.ABORTED)

    def _undo_keeping(self, candidate: Candidate, number: int) -> None:
        self.history.discard(number)
        self._release(candidate)

    async def _bring_up(
        self,
        candidate: Candidate,
        change: Change,
        by: str,
        of: int,
        report: Report,
        splits: Mapping[str, SplitPlan],
    ) -> Revision:
        """Start what is new and swap to it, or put it on trial; where that fails, stop what was started and raise."""
        before = self.current
        wanted = candidate.wanted
        actions = change.plugins
        beside = {name: wanted[name] for name in wanted if actions[name] in (Action.START, Action.SWAP)}
        in_place = {name: wanted[name] for name in wanted if actions[name] is Action.REPLACE}
        kept = {name: before.generations[name] for name in wanted if actions[name] in (Action.KEEP, Action.RECONFIGURE)}
        plan_kept = await self._kept_plan(candidate)
        fresh = await self._fleet.start(beside, report)
        try:
            await self._tested(candidate, fresh)
            await self._configure(kept, wanted, [name for name in kept if actions[name] is Action.RECONFIGURE])
            if in_place:
                fresh |= await self._replace(candidate, in_place, by, report)
            revision = self._revision(candidate, {**kept, **fresh}, plan_kept, by, of)
            self._end_trial(ANOTHER_CHANGE, by)
            if splits:
                self._try(revision, splits)
            else:
                self._swap(revision)
        except BaseException:
            await self._stop(fresh.values())
            await self._narrow(kept.values())
            raise
        finally:
            self.engine.release()
        return revision

    async def _tested(self, candidate: Candidate, generations: Mapping[str, Generation]) -> None:
        wanted = candidate.wanted
        try:
            await asyncio.gather(*(self_test(each, tuple(wanted[name].configs)) for name, each in generations.items()))
        except BaseException:
            await self._stop(generations.values())
            raise

    async def _kept_plan(self, candidate: Candidate, number: int = 0) -> _Kept:
        """Keep a plan before anything of it starts: nothing serves that could not be had again."""
        number = number or self.history.next_number
        if self.durability is None and self.journaled and candidate.loaded.plan.durable:
            raise ChangeNotMade(
                "penstock.no_journal", "a pipeline is durable now, and the host has no journal", hint=NO_JOURNAL_HINT
            )
        await asyncio.to_thread(self.history.keep, number, msgspec.msgpack.encode(_archived(candidate)))
        origin = ""
        if self.durability is not None:
            origin = await self.durability.keep(candidate.loaded, candidate.prepared)
        return _Kept(number, origin)

    def _revision(
        self, candidate: Candidate, generations: Mapping[str, Generation], kept: _Kept, by: str, of: int
    ) -> Revision:
        plan = candidate.loaded.plan
        ordered = {name: generations[name] for name in plan.plugins}
        routes = self._join(candidate.loaded, ordered, candidate.handed, kept.origin, kept.number)
        serving = Serving(routes, plan.unmatched, frozenset(plan.hooks), kept.number)
        if self.durability is not None:
            self.durability.serves(kept.origin, routes)
        return Revision(kept.number, candidate, ordered, serving, kept.origin, by, time.time(), of or kept.number)

    def _swap(self, revision: Revision) -> None:
        before, self.current = self.current, revision
        self.engine.serving = revision.serving
        self._drain(before)

    # A revision on trial.

    def _try(self, revision: Revision, splits: Mapping[str, SplitPlan]) -> None:
        self.trial = Trial(revision, self.current.number, splits, self._worse)
        self.engine.split = self.trial
        self._publish(CanaryStarted(revision.number, self.trial.percent, self.trial.hooks))
        said = f"it takes {self.trial.percent:g} % of the calls"
        log.info("canary.started", extra={"revision": revision.number, "by": revision.by, "reason": said})

    def ended(self, run: Traversal) -> None:
        """Take in a run that is over."""
        if self.trial is not None:
            self.trial.heard(run)

    def _worse(self, reason: str) -> None:
        """End the trial at once: no call more. What follows from that takes its time."""
        if self.engine.split is not None and not self._closing:
            self.engine.split = None
            self._own(self._abort_worse(reason))

    async def _abort_worse(self, reason: str) -> None:
        async with self._turn:
            if self.trial is not None and self.engine.split is None:
                await self._pass_over()
                await self._abort(reason, CANARY)

    async def _pass_over(self) -> None:
        """Neither the watch nor a start must bring back what the files hold now."""
        await self._note_passed_over(await asyncio.to_thread(self.candidates.look))

    async def _note_passed_over(self, content: str) -> None:
        try:
            await asyncio.to_thread(self.history.pass_over, content)
        except OSError as error:
            log.error("history.not_written", extra={"reason": error.strerror or str(error)})

    async def _abort(self, reason: str, by: str) -> None:
        trial = self.trial
        self._end_trial(reason, by)
        await self._note_end(trial, by)

    def _end_trial(self, reason: str, by: str) -> None:
        """Let the revision on trial, if any, take no call more."""
        trial, self.trial, self.engine.split = self.trial, None, None
        if trial is not None:
            trial.reason = reason
            number = trial.revision.number
            self._drain(trial.revision)
            log.warning("canary.aborted", extra={"revision": number, "by": by, "reason": reason})
            self._publish(CanaryAborted(number, by, reason))

    async def _note_end(self, trial: Trial | None, by: str) -> None:
        """Write down that a trial was ended, if it was."""
        if trial is not None and trial is not self.trial:
            await self._write(self._entry_of(trial.revision.number, by, Outcome.ABORTED, trial.reason))

    def _entry_of(self, number: int, by: str, outcome: Outcome, reason: str = "") -> Entry:
        """What became of a revision that has an entry already."""
        said = self.history.entry(number)
        if said is None:
            return Entry(time.time(), by, outcome, number=number, reason=reason)
        return msgspec.structs.replace(said, at=time.time(), by=by, outcome=outcome, reason=reason)

    def split(self, percent: float) -> Trial:
        """Give another part of the calls to the revision on trial. Raises ChangeNotMade where there is none."""
        trial = self._on_trial()
        trial.percent = percent
        self._publish(CanaryStarted(trial.revision.number, percent, trial.hooks))
        return trial

    async def promote(self, by: str) -> Revision:
        """Give all calls to the revision on trial. Raises ChangeNotMade where there is none."""
        return await self._in_turn(self._promote(self._on_trial(), by))

    async def _promote(self, asked: Trial, by: str) -> Revision:
        revision = self._on_trial(asked).revision
        self.trial = self.engine.split = None
        self._swap(revision)
        self._publish(CanaryPromoted(revision.number, by))
        log.info("canary.promoted", extra={"revision": revision.number, "by": by})
        await self._write(self._entry_of(revision.number, by, Outcome.PROMOTED))
        await self._hold_plans()
        return revision

    async def abort(self, by: str, reason: str) -> Revision:
        """End the trial; what served before serves all calls. Raises ChangeNotMade where there is none."""
        return await self._in_turn(self._end(self._on_trial(), by, reason))

    async def _end(self, asked: Trial, by: str, reason: str) -> Revision:
        self._on_trial(asked)
        await self._pass_over()
        await self._abort(reason, by)
        return self.current

    def _on_trial(self, asked: Trial | None = None) -> Trial:
        # Where it was found to be worse, it takes no calls and only waits for the end of another change. That one may
        # have put another revision on trial, of which whoever asked before knew nothing.
        if self.trial is None or self.engine.split is None or asked not in (None, self.trial):
            raise ChangeNotMade("penstock.no_canary", "no revision is on trial", hint=NO_CANARY_HINT)
        return self.trial

    # Replacing a plugin of which there can be only one generation.

    async def _replace(
        self, candidate: Candidate, in_place: Mapping[str, Wanted], by: str, report: Report
    ) -> dict[str, Generation]:
        """Stop the old generations, then start the new ones; the calls of their hooks wait, until the caller swaps."""
        # It would stand beside what bears no second, and be left with what is stopped here.
        self._end_trial(ANOTHER_CHANGE, by)
        before = self.current
        self.engine.hold(_hooks_of(before.loaded.plan, in_place))
        await self._wait_for(frozenset(in_place))
        # Those of revisions that drain, too. Their breakers stay: what failed may come back.
        old = [generation for generation in self._fleet.generations if generation.spec.plugin in in_place]
        await asyncio.gather(*map(self._fleet.stop, old))
        try:
            fresh = await self._fleet.start(in_place, report)
            await self._tested(candidate, fresh)
        except asyncio.CancelledError:
            raise  # the host closes
        except BaseException:
            await self._put_back(before, in_place)
            raise
        return fresh

    async def _wait_for(self, plugins: frozenset[str]) -> None:
        """Wait until no run needs the generations that are to be stopped; at most until every call must be answered."""
        holders = {one.number: (one, _hooks_of(one.loaded.plan, plugins)) for one in self._living()}
        bound = max((_longest(one.loaded.plan, hooks) for one, hooks in holders.values()), default=0.0)
        try:
            async with asyncio.timeout(bound + ANSWER_SECONDS):
                for number, (_, hooks) in holders.items():
                    await self.engine.drained(number, hooks)
        except TimeoutError:
            runs = [run for number, (_, hooks) in holders.items() for run in self.engine.holders(number, hooks)]
            raise _still_needed(runs) from None
        if self.durability is not None and (earlier := self.durability.runs_of(plugins)):
            raise _still_needed(earlier)

    async def _put_back(self, before: Revision, names: Mapping[str, Wanted]) -> None:
        """Start again what was stopped for its successor, which failed."""
        wanted = before.candidate.wanted
        again = await self._fleet.start({name: wanted[name] for name in names}, keep_failed=True)
        generations = {**before.generations, **again}
        routes = self._join(before.loaded, generations, before.candidate.handed, before.origin, before.number)
        serving = Serving(routes, before.serving.unmatched, before.serving.hooks, before.number)
        self.current = replace(before, generations=generations, serving=serving)
        self.engine.serving = serving
        if self.durability is not None:
            self.durability.serves(before.origin, routes)
            self.durability.no_longer(before.origin, before.serving.routes)

    # Configurations.

    async def _configure(
        self, kept: Mapping[str, Generation], wanted: Mapping[str, Wanted], names: Iterable[str]
    ) -> None:
        """Give generations that stay the new configurations beside the old ones, which runs under way still name."""
        for name in names:
            await kept[name].configure({**self._table(kept[name]), **wanted[name].configs})

    async def _narrow(self, generations: Iterable[Generation]) -> None:
        """Take configurations back that no revision names any more; where that fails, they stay."""
        for generation in generations:
            table = self._table(generation)
            if table == generation.table:
                continue
            try:
                await generation.configure(table)
            except IsolationError as error:
                log.warning("generation.not_narrowed", extra={"plugin": generation.spec.plugin, "reason": str(error)})

    def _table(self, generation: Generation) -> dict[str, object]:
        table: dict[str, object] = {}
        for one in self._living():
            for name, each in one.generations.items():
                if each is generation:
                    table |= one.candidate.handed[name].table
        return table

    # Going out of service.

    def _drain(self, revision: Revision) -> None:
        self._draining[revision.number] = revision
        self._own(self._drained(revision))

    def _own(self, work: Coroutine[object, object, None]) -> None:
        task = self._group.create_task(_guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drained(self, revision: Revision) -> None:
        """Let a revision finish what it began, then stop what only it has."""
        self._publish(RevisionDraining(revision.number, self.engine.holders(revision.number)))
        await self.engine.drained(revision.number)
        del self._draining[revision.number]
        if self.durability is not None:
            self.durability.no_longer(revision.origin, revision.serving.routes)
        shared = {generation for one in self._living() for generation in one.generations.values()}
        generations = revision.generations.values()
        await self._stop(generation for generation in generations if generation not in shared)
        async with self._turn:  # a change that is under way may be widening a table
            await self._narrow(generation for generation in generations if generation in shared)
            await self._tidy()
        self._keep(revision)
        self._publish(RevisionGone(revision.number))
        log.info("revision.gone", extra={"revision": revision.number})

    async def _stop(self, generations: Iterable[Generation]) -> None:
        gone = tuple(generations)
        await asyncio.gather(*map(self._fleet.stop, gone))
        living = {generation.spec.name for generation in self._fleet.generations}
        for name in {generation.spec.name for generation in gone} - living:
            self._breakers.forget(name)

    def _keep(self, revision: Revision) -> None:
        self._kept.append(revision)
        while len(self._kept) > KEPT_REVISIONS:
            self._release(self._kept.popleft().candidate)

    def _release(self, candidate: Candidate) -> None:
        """Give back what the store lent, once."""
        if candidate in self._lent:
            self._lent.discard(candidate)
            for prepared in candidate.prepared.values():
                self._store.release(prepared)

    @property
    def undo_seconds(self) -> float:
        """The longest that a run of any revision may undo what it did."""
        chains = [chain for one in self._living() for chain in one.loaded.plan.routes.values()]
        return max((each.undo_seconds for chain in chains for each in chain), default=0.0)

    # What is written down.

    async def _note(self, revision: Revision, change: Change, outcome: Outcome, after: int, reason: str = "") -> None:
        entry = Entry(
            at=time.time(),
            by=revision.by,
            outcome=outcome,
            number=revision.number,
            after=after,
            of=0 if revision.of == revision.number else revision.of,
            reason=reason,
            commit=await asyncio.to_thread(self.candidates.commit),
            files=tuple(sorted(revision.loaded.archive.files)),
            change=change.record(),
        )
        await self._write(entry)
        self.refused = None

    async def _refuse(self, error: Exception, by: str) -> ChangeNotMade:
        """Tell everybody why a change was not made, and write it down."""
        refused = refusal_of(error)
        self.refused = Entry(
            at=time.time(),
            by=by,
            outcome=Outcome.REFUSED,
            code=refused.code,
            reason=str(refused),
            where=refused.where,
            commit=await asyncio.to_thread(self.candidates.commit),
        )
        log.error("change.refused", extra={"by": by, "reason": str(refused)})
        await self._write(self.refused)
        self._publish(ChangeRefused(by, refused.code, str(refused), refused.where))
        return refused

    async def _hold_plans(self) -> None:
        """Keep what the latest plans need of the store, also from a collection that runs while no host does."""
        if self.history.folder is None:
            return
        try:
            await asyncio.to_thread(self._hold, self.history.folder)
        except OSError as error:
            log.warning("revisions.not_held", extra={"reason": error.strerror or str(error)})

    def _hold(self, folder: Path) -> None:
        names = set[str]()
        for number in self.history.latest_plans(1 + KEPT_REVISIONS):
            with contextlib.suppress(NoSuchRevision):
                names.update(self.history.archive(number).plan.names)
        self._store.hold(folder, names)

    async def _tidy(self) -> None:
        """Let the journal forget the plans of revisions that are gone, or never were."""
        if self.durability is None:
            return
        try:
            await self.durability.tidy()
        except (JournalError, OSError) as error:
            log.warning("journal.not_tidied", extra={"reason": str(error)})

    async def _write(self, entry: Entry) -> None:
        try:
            await asyncio.to_thread(self.history.add, entry)
        except OSError as error:
            log.warning("history.not_written", extra={"reason": error.strerror or str(error)})


def _archived(candidate: Candidate) -> ArchivedRevision:
    plugins = candidate.outline.plugins.items()
    processes = {name: plugin.process for name, plugin in plugins}
    return ArchivedRevision(archived_plan(candidate.loaded, candidate.prepared), processes)


def _splits(candidate: Candidate, change: Change) -> Mapping[str, SplitPlan]:
    """How the calls of the hooks are split that the change puts on trial."""
    splits = splits_of(candidate.loaded.plan)
    return {trial.hook: splits[trial.hook] for trial in change.trial}


async def _guarded(work: Coroutine[object, object, None]) -> None:
    """A bug of ours in what drains must not take the host down."""
    try:
        await work
    except Exception:
        log.exception("revisions.crashed")


def _stopping() -> ChangeNotMade:
    return ChangeNotMade("penstock.shutdown", "the host is stopping", hint="ask again after its start")


def _still_needed(runs: Iterable[str]) -> ChangeNotMade:
    shown = ", ".join(list(runs)[:5]) or "calls under way"
    return ChangeNotMade(
        "penstock.still_needed",
        f"the generation that is to be replaced is still needed by {shown}",
        hint="`penstock runs show ID` says what they wait for; try again when they are over",
    )


def _longest(plan: Plan, hooks: Iterable[str]) -> float:
    """The seconds within which every call of these hooks is answered."""
    return max((sum(each.deadline_seconds for each in plan.routes.get(hook, ())) for hook in hooks), default=0.0)


def _hooks_of(plan: Plan, plugins: Iterable[str]) -> frozenset[str]:
    """The hooks of which some call may need one of these plugins."""
    return frozenset(hook for hook, chain in plan.routes.items() if set(plugins) & set(_called(chain)))


def _called(chain: Iterable[PipelinePlan]) -> Iterator[str]:
    for pipeline in chain:
        for stage in (*pipeline.stages, *pipeline.finals):
            yield stage.plugin
            if stage.undo is not None:
                yield stage.undo.plugin
