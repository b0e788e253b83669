"""The revisions of a host: which one serves, which are on trial or drain, and how one follows another.

A change is prepared and started beside what serves; routing is swapped in one assignment when all of it is ready.
Whatever goes wrong before that is a refusal and leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

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
from orchestrator.generations import Fleet, Report, Wanted, wanted_of
from orchestrator.journal.errors import JournalError
from orchestrator.loading import Loaded
from orchestrator.reload.change import Action, Change, difference
from orchestrator.revisions.archive import ArchivedRevision, archived_plan
from orchestrator.revisions.candidates import Candidates
from orchestrator.revisions.history import Entry, History, NoSuchRevision, Outcome
from orchestrator.revisions.refusal import ChangeNotMade, refusal_of
from orchestrator.revisions.revision import Candidate, Revision
from orchestrator.revisions.selftest import self_test
from orchestrator.revisions.trial import Trial, splits_of
from pipelines.plan import PipelinePlan, Plan, SplitPlan
from pipelines.problem import SpecError

if TYPE_CHECKING:
    from orchestrator.durable.durability import Durability
    from orchestrator.engine.engine import Engine
    from orchestrator.resilience.breakers import Breakers

__all__ = ["KEPT_REVISIONS", "Applied", "Draining", "Revisions"]

log = logging.getLogger("penstock.revisions")

KEPT_REVISIONS = 3
"""Earlier ones whose snapshots and environments stay, so that a rollback builds nothing."""

CANARY = "canary"
"""Who wanted a trial ended that was judged to be worse."""

NO_JOURNAL_HINT = "start the host again, or use `penstock serve`, which always has one"

NO_CANARY_HINT = "a change is put on trial where a stage that uses the plugin has `split`"

UNDO_MARGIN_SECONDS = 1.0
"""What the end of a run takes beyond its own bounds: an answer on its way, a sync of the journal."""


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
        self, loaded: Loaded, generations: Mapping[str, Generation], origin: str, revision: int
    ) -> Mapping[str, tuple[Route, ...]]:
        """The routes of every hook. `origin` is the digest under which the journal keeps the plan."""


class Revisions:
    """Use it as an async context manager, `first` before all else. Changes are made one after another.

    What serves is `current`; `engine` is given its routes. Where runs are not `journaled`, durable pipelines need no
    journal. Leaving stops waiting for what drains.
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
        self._drains = asyncio.TaskGroup()
        self._tasks = set[asyncio.Task[None]]()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Revisions:
        await self._stack.enter_async_context(self._drains)
        self._stack.callback(self._give_up)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def _give_up(self) -> None:
        for task in self._tasks:
            task.cancel()

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

    async def first(self, candidate: Candidate, report: Report) -> Revision:
        """Start what is to serve when the host starts. Raises StartFailures; the candidate is released then."""
        last = self.history.served()
        number = self._number_again(candidate, last[-1] if last else 0)
        try:
            kept = await self._kept_plan(candidate, number)
            generations = await self._fleet.start(wanted_of(candidate.loaded, candidate.prepared), report)
            await self._tested(candidate, generations)
        except BaseException:
            self._release(candidate)
            raise
        self.current = self._revision(candidate, generations, kept, "start", 0)
        if not number:
            await self._note(self.current, difference(None, candidate.outline), Outcome.APPLIED, 0)
        return self.current

    def _number_again(self, candidate: Candidate, last: int) -> int:
        """The number of the last revision where nothing has changed since; else 0."""
        try:
            known = self.history.archive(last) if last else None
        except NoSuchRevision:
            return 0
        return last if known is not None and known == _archived(candidate) else 0

    async def apply(self, by: str, report: Report = lambda event: None) -> Applied:
        """Put into service what the files say now. Raises ChangeNotMade."""
        async with self._turn:
            return await self._follow(by, 0, self.candidates.from_files, report, splits_calls=True)

    async def plan(self) -> Change:
        """What `apply` would do, without doing it: nothing is built, started or written. Raises ChangeNotMade."""
        try:
            outline = await asyncio.to_thread(self.candidates.outline_of_files)
        except (SpecError, IsolationError) as error:
            raise refusal_of(error) from error
        return difference(self.current.candidate.outline, outline)

    async def rollback(self, to: int | None, by: str, report: Report = lambda event: None) -> Applied:
        """Put an earlier revision into service again, the one before where `to` is None.

        Raises ChangeNotMade and NoSuchRevision.
        """
        async with self._turn:
            if self.trial is not None and to is None:
                change = difference(self.trial.revision.candidate.outline, self.current.candidate.outline)
                await self._abort("rolled back", by)
                return Applied(self.current, change, Outcome.ABORTED)
            number = self.history.before(self.current.number) if to is None else to
            if number != self.current.number and self.history.outcome(number) is None:
                self.history.archive(number)  # says which there are
            of = self._plan_of(number)
            archive = await asyncio.to_thread(self.history.archive, number)
            return await self._follow(by, of, lambda report: self.candidates.from_archive(archive), report)

    def _plan_of(self, number: int) -> int:
        found = self.history.entry(number)
        return number if found is None else found.of or number

    async def again(self, by: str) -> Applied:
        """Put what serves into service once more, with the overrides that are in force now. Raises ChangeNotMade."""
        async with self._turn:
            archive = _archived(self.current.candidate)
            of = self.current.of
            return await self._follow(by, of, lambda report: self.candidates.from_archive(archive), lambda event: None)

    async def _follow(
        self, by: str, of: int, made: Callable[[Report], Candidate], report: Report, *, splits_calls: bool = False
    ) -> Applied:
        try:
            candidate = await asyncio.to_thread(made, report)
        except (SpecError, IsolationError) as error:
            raise await self._refuse(error, by) from error
        same = self._same(candidate)
        if same is not None:
            self._release(candidate)
            return same
        if self.trial is not None:
            await self._abort("another change was made", by)
        before = self.current
        change = difference(before.candidate.outline, candidate.outline)
        number = self.history.next_number
        try:
            splits = _splits(candidate, change) if splits_calls else {}
            outcome = Outcome.CANARY if splits else Outcome.APPLIED
            revision = await self._bring_up(candidate, change, by, of, report, splits)
        except (IsolationError, ChangeNotMade, JournalError, OSError) as error:
            self.history.discard(number)
            self._release(candidate)
            raise await self._refuse(error, by) from error
        except BaseException:
            self.history.discard(number)
            self._release(candidate)
            raise
        await self._note(revision, change, outcome, before.number)
        self._publish(ChangeApplied(revision.number, by, change.record()))
        log.info("revision.applied", extra={"revision": revision.number, "by": by})
        return Applied(revision, change, outcome)

    def _same(self, candidate: Candidate) -> Applied | None:
        """What serves, or is on trial, where it is no other than the candidate."""
        if self.trial is not None:
            change = difference(self.trial.revision.candidate.outline, candidate.outline)
            return Applied(self.trial.revision, change, None) if change.empty else None
        change = difference(self.current.candidate.outline, candidate.outline)
        return Applied(self.current, change, None) if change.empty else None

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
        wanted = wanted_of(candidate.loaded, candidate.prepared)
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
                fresh |= await self._replace(candidate, in_place, report)
            revision = self._revision(candidate, {**kept, **fresh}, plan_kept, by, of)
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
        wanted = wanted_of(candidate.loaded, candidate.prepared)
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
        routes = self._join(candidate.loaded, ordered, kept.origin, kept.number)
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

    def _worse(self, reason: str) -> None:
        """End the trial at once: no call more. What follows from that takes its time."""
        if self.engine.split is not None:
            self.engine.split = None
            self._own(self._abort_worse(reason))

    async def _abort_worse(self, reason: str) -> None:
        async with self._turn:
            if self.trial is not None and self.engine.split is None:
                await self._abort(reason, CANARY)

    async def _abort(self, reason: str, by: str) -> None:
        trial, self.trial, self.engine.split = self.trial, None, None
        assert trial is not None
        revision = trial.revision
        self._drain(revision)
        log.warning("canary.aborted", extra={"revision": revision.number, "by": by, "reason": reason})
        self._publish(CanaryAborted(revision.number, by, reason))
        stable = self.current.number
        await self._write(Entry(time.time(), by, Outcome.ABORTED, number=revision.number, after=stable, reason=reason))

    def split(self, percent: float) -> Trial:
        """Give another part of the calls to the revision on trial. Raises ChangeNotMade where there is none."""
        trial = self._on_trial()
        trial.percent = percent
        self._publish(CanaryStarted(trial.revision.number, percent, trial.hooks))
        return trial

    async def promote(self, by: str) -> Revision:
        """Give all calls to the revision on trial. Raises ChangeNotMade where there is none."""
        async with self._turn:
            revision = self._on_trial().revision
            after = self.current.number
            self.trial = self.engine.split = None
            self._swap(revision)
            self._publish(CanaryPromoted(revision.number, by))
            log.info("canary.promoted", extra={"revision": revision.number, "by": by})
            await self._write(Entry(time.time(), by, Outcome.PROMOTED, number=revision.number, after=after))
            return revision

    async def abort(self, by: str, reason: str) -> Revision:
        """End the trial; what served before serves all calls. Raises ChangeNotMade where there is none."""
        async with self._turn:
            self._on_trial()
            await self._abort(reason, by)
            return self.current

    def _on_trial(self) -> Trial:
        if self.trial is None:
            raise ChangeNotMade("penstock.no_canary", "no revision is on trial", hint=NO_CANARY_HINT)
        return self.trial

    # Replacing a plugin of which there can be only one generation.

    async def _replace(
        self, candidate: Candidate, in_place: Mapping[str, Wanted], report: Report
    ) -> dict[str, Generation]:
        """Stop the old generations, then start the new ones; the calls of their hooks wait, until the caller swaps."""
        before = self.current
        old = [before.generations[name] for name in in_place]
        hooks = _hooks_of(before.loaded.plan, in_place) | _hooks_of(candidate.loaded.plan, in_place)
        self.engine.hold(hooks)
        await self._wait_for(hooks, old)
        await self._stop(old)
        try:
            fresh = await self._fleet.start(in_place, report)
            await self._tested(candidate, fresh)
        except BaseException:
            await self._put_back(before, in_place)
            raise
        return fresh

    async def _wait_for(self, hooks: frozenset[str], old: Collection[Generation]) -> None:
        """Wait until no run needs the generations that are to be stopped."""
        holders = [one for one in self._living() if set(old) & set(one.generations.values())]
        bound = max(
            (
                _longest(pipeline)
                for one in holders
                for hook in hooks
                for pipeline in one.loaded.plan.routes.get(hook, ())
            ),
            default=0.0,
        )
        try:
            async with asyncio.timeout(bound + UNDO_MARGIN_SECONDS):
                for one in holders:
                    await self.engine.drained(one.number, hooks)
        except TimeoutError:
            runs = [run for one in holders for run in self.engine.holders(one.number, hooks)]
            raise ChangeNotMade(
                "penstock.still_needed",
                f"the generation that is to be replaced is still needed by {', '.join(runs[:5]) or 'calls under way'}",
                hint="`penstock runs show ID` says what they wait for; try again when they are over",
            ) from None

    async def _put_back(self, before: Revision, names: Mapping[str, Wanted]) -> None:
        """Start again what was stopped for its successor, which failed."""
        wanted = wanted_of(before.loaded, before.candidate.prepared)
        again = await self._fleet.start({name: wanted[name] for name in names}, keep_failed=True)
        generations = {**before.generations, **again}
        routes = self._join(before.loaded, generations, before.origin, before.number)
        serving = Serving(routes, before.serving.unmatched, before.serving.hooks, before.number)
        self.current = replace(before, generations=generations, serving=serving)
        self.engine.serving = serving
        if self.durability is not None:
            self.durability.serves(before.origin, routes)

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
                    table |= wanted_of(one.loaded, one.candidate.prepared)[name].configs
        return table

    # Going out of service.

    def _drain(self, revision: Revision) -> None:
        self._draining[revision.number] = revision
        self._own(self._drained(revision))

    def _own(self, work: Coroutine[object, object, None]) -> None:
        task = self._drains.create_task(work)
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
        for prepared in candidate.prepared.values():
            self._store.release(prepared)

    # What is written down.

    async def _note(self, revision: Revision, change: Change, outcome: Outcome, after: int) -> None:
        entry = Entry(
            at=time.time(),
            by=revision.by,
            outcome=outcome,
            number=revision.number,
            after=after,
            of=0 if revision.of == revision.number else revision.of,
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
        log.error("change.refused", extra={"by": by, "where": refused.where, "reason": str(refused)})
        await self._write(self.refused)
        self._publish(ChangeRefused(by, refused.code, str(refused), refused.where))
        return refused

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
    """What of the calls goes to a candidate; nothing where it would have to stand beside what bears no second."""
    if Action.REPLACE in change.plugins.values():
        return {}
    swapped = frozenset(name for name, action in change.plugins.items() if action is Action.SWAP)
    return splits_of(candidate.loaded.plan, swapped)


def _longest(pipeline: PipelinePlan) -> float:
    """The seconds after which a run is over, its verdict and what follows it."""
    return pipeline.deadline_seconds + (pipeline.confirm_seconds or 0.0) + pipeline.undo_seconds


def _hooks_of(plan: Plan, plugins: Iterable[str]) -> frozenset[str]:
    """The hooks of which some call may need one of these plugins."""
    return frozenset(hook for hook, chain in plan.routes.items() if set(plugins) & set(_called(chain)))


def _called(chain: Iterable[PipelinePlan]) -> Iterator[str]:
    for pipeline in chain:
        for stage in (*pipeline.stages, *pipeline.finals):
            yield stage.plugin
            if stage.undo is not None:
                yield stage.undo.plugin
