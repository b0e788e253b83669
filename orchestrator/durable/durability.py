"""The journal in service: runs found in it are taken up with their own generations, or parked with the reason."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from isolation.errors import IsolationError
from isolation.generation import Generation
from isolation.store.store import Prepared, Store
from orchestrator.contexts import request_id_of
from orchestrator.durable.recorder import JournalRecorder
from orchestrator.durable.recovery import read_back, take_up
from orchestrator.durable.replay import ReplayDiffers, request_of
from orchestrator.engine.engine import Engine
from orchestrator.engine.lasting import Lasting
from orchestrator.engine.wiring import Route
from orchestrator.events import Events, RunParked, RunTakenUp
from orchestrator.generations import Fleet, wanted_of
from orchestrator.journal.awaiting import AwaitedJournal
from orchestrator.journal.errors import JournalError, Unreadable
from orchestrator.journal.journal import Journal
from orchestrator.journal.opening import open_journal
from orchestrator.journal.rows import RunRow
from orchestrator.loading import Loaded
from orchestrator.record.unmanned import UnmannedRoutes
from orchestrator.revisions.archive import archived, read_archive
from orchestrator.secrets import Handover, Vault
from pipelines.problem import Severity, SpecError
from pipelines.run import MACHINE_VERSION

__all__ = ["Durability", "RunNotHad", "RunStands"]

RETENTION_SECONDS = 30 * 86400.0
RETAINED_RUNS = 10_000
"""Completed and undone runs that ended longer ago, and are not among the newest, go when a host starts."""

log = logging.getLogger("penstock.recovery")

Routes = Mapping[str, tuple[Route, ...]]
Join = Callable[[Loaded, Mapping[str, Generation], Mapping[str, Handover], str], Routes]
"""Joins a plan with its generations and what they were handed; the text is the plan's digest in the journal."""


class RunNotHad(Exception):
    """A run cannot be read back or taken up; the message says why."""

    code = "penstock.run_not_had"
    hint = "`penstock runs show ID` has what it did; finish it by hand"


class RunStands(RunNotHad):
    """A run does not stand so that what was asked for could be done; the message says how it does."""

    code = "penstock.run_stands"
    hint = "`penstock runs show ID` says what became of it"


@dataclass(slots=True)
class _Earlier:
    """A plan that was in service before, and is again for the runs that began with it."""

    ready: asyncio.Future[Routes]
    unneeded: asyncio.Event = field(default_factory=asyncio.Event)
    needed_by: set[str] = field(default_factory=set)
    plugins: frozenset[str] = frozenset()


class Durability:
    """Use it as an async context manager: inside, the journal in `folder` is open. Entering raises JournalError."""

    journal: Journal
    engine: Engine

    def __init__(self, folder: Path, store: Store, fleet: Fleet, events: Events, join: Join, vault: Vault) -> None:
        self.folder = folder
        self._fleet = fleet
        self._serving: dict[str, list[Routes]] = {}
        self._names: dict[str, frozenset[str]] = {}
        self._store = store
        self._events = events
        self._join = join
        self._vault = vault
        self._earlier: dict[str, _Earlier] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Durability:
        loop = asyncio.get_running_loop()
        self.journal = await asyncio.to_thread(open_journal, self.folder, loop=loop, machine=MACHINE_VERSION)
        self._stack.push_async_callback(asyncio.to_thread, self.journal.close)
        self._unmanned = UnmannedRoutes(self.journal)
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._stack.callback(self._let_go)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _let_go(self) -> None:
        for earlier in self._earlier.values():
            earlier.unneeded.set()

    def runs_of(self, plugins: frozenset[str]) -> tuple[str, ...]:
        """The runs for which a generation of one of these plugins is in service that serves nothing else."""
        found = (earlier.needed_by for earlier in self._earlier.values() if earlier.plugins & plugins)
        return tuple(sorted(set[str]().union(*found)))

    async def keep(self, loaded: Loaded, prepared: Mapping[str, Prepared]) -> str:
        """Archive a plan that is put into service, and hold what every archived one needs of the store.

        Return its digest. Raises JournalError and OSError.
        """
        origin, body = archived(loaded, prepared)
        await AwaitedJournal(self.journal).put_plan(origin, body)
        if not self._serving:
            await self.tidy(origin)
        self._hold()
        return origin

    async def tidy(self, *origins: str) -> None:
        """Drop runs that are long over and plans that neither runs nor revisions need. Raises JournalError and OSError.

        `origins` are plans that are about to be put into service.
        """
        needed = {*origins, *self._serving}
        await AwaitedJournal(self.journal).prune(time.time() - RETENTION_SECONDS, RETAINED_RUNS, needed)
        self._hold()

    def _hold(self) -> None:
        names: dict[str, frozenset[str]] = {}
        for digest in self.journal.plans():
            known = self._names.get(digest)
            if known is None:
                kept = self.journal.plan(digest)
                known = frozenset(() if kept is None else read_archive(kept).names)
            names[digest] = known
        self._names = names
        self._store.hold(self.folder, set[str]().union(*names.values()))

    def serves(self, origin: str, routes: Routes) -> None:
        """Note that the runs of a plan can go on here and now."""
        self._serving.setdefault(origin, []).append(routes)

    def no_longer(self, origin: str, routes: Routes) -> None:
        """Note that routes are out of service. Others of the same plan may be in service still."""
        left = [each for each in self._serving.pop(origin, ()) if each is not routes]
        if left:
            self._serving[origin] = left

    def recorder(self, engine: Engine) -> JournalRecorder:
        """Where the runs of `engine` are written down."""
        self.engine = engine
        self._recorder = JournalRecorder(self.journal, engine.clock, self.recall)
        return self._recorder

    # Taking up.

    async def recover(self) -> None:
        """Go on with every run that is not over. None is forgotten: what cannot be taken up is parked."""
        rows = self.journal.unfinished()
        for row in rows:
            if isinstance(row, Unreadable):
                self._park(row.run, str(row))
            elif row.plan in self._serving:
                self._take_up(row, self._serving[row.plan][-1])
        for row in rows:
            if isinstance(row, RunRow) and row.plan not in self._serving:
                await self._take_up_earlier(row)

    async def _take_up_earlier(self, row: RunRow) -> None:
        try:
            routes = await self._routes(row.plan, row.id)
        except RunNotHad as error:
            self._park(row.id, str(error), row)
        else:
            self._take_up(row, routes)

    def _take_up(self, row: RunRow, routes: Routes) -> None:
        try:
            run = self._read_back(row, routes)
        except RunNotHad as error:
            self._park(row.id, str(error), row)
            return
        self._goes_on(run, row)

    def _goes_on(self, run: Lasting, row: RunRow) -> None:
        phase = run.machine.phase.value
        self._events.publish(RunTakenUp(run.id, row.pipeline, phase, request_id_of(run.context), run.trace))
        take_up(run, row, self.engine)

    def _park(self, run: str, why: str, row: RunRow | None = None) -> None:
        pipeline, known = ("", {}) if row is None else (row.pipeline, request_of(row))
        log.error("run.parked", extra={"run": run, "reason": why, **known})
        self._recorder.park(run, why)
        self.released(run)
        self._events.publish(RunParked(run, pipeline, why, **known))

    def _read_back(self, row: RunRow, routes: Routes) -> Lasting:
        found = (route for route in routes.get(row.hook, ()) if route.plan.name == row.pipeline)
        route = next(found, None)
        if route is None:
            raise RunNotHad(f"its plan has no pipeline {row.pipeline} on {row.hook} any more")
        try:
            return read_back(row, self.journal.events(row.id), route, self.engine)
        except (ReplayDiffers, JournalError) as error:
            raise RunNotHad(str(error)) from error

    def recall(self, run: str) -> Lasting | None:
        """A run that is over, read back with the plan that it was begun with; None when that cannot be."""
        row = None
        try:
            row = self.journal.run(run)
            if row is None:
                return None
            if row.plan in self._serving:
                return self._read_back(row, self._serving[row.plan][-1])
            # Nobody is called any more, so the generations of an earlier plan need not be there.
            route = self._unmanned(row)
            return None if route is None else self._read_back(row, {row.hook: (route,)})
        except (RunNotHad, JournalError) as error:
            known = {} if row is None else request_of(row)
            log.warning("run.not_had", extra={"run": run, "reason": str(error), **known})
            return None

    async def fetch(self, run: str) -> Lasting:
        """A run to go on with, its plan and generations in service. Raises RunNotHad and JournalError."""
        found = self.engine.open.get(run)
        if found is not None:
            return found
        row = self.journal.run(run)
        if row is None:
            raise RunNotHad(f"the journal has no run {run}")
        if row.plan in self._serving:
            return self._read_back(row, self._serving[row.plan][-1])
        routes = await self._routes(row.plan, run)
        # Somebody else may have asked for it meanwhile, and there must never be two of one run.
        return self.engine.open.get(run) or self._read_back(row, routes)

    def take_up(self, run: Lasting) -> None:
        """Go on with a run that was fetched and is not over. Raises RunNotHad and JournalError."""
        row = self.journal.run(run.id)
        if row is None:
            raise RunNotHad(f"the journal has no run {run.id}")
        self._recorder.goes_on(run)
        self._goes_on(run, row)

    # Plans of earlier starts.

    async def _routes(self, origin: str, run: str) -> Routes:
        earlier = self._earlier.get(origin)
        if earlier is None:
            earlier = self._earlier[origin] = _Earlier(asyncio.get_running_loop().create_future())
            self._tasks.create_task(self._serve(origin, earlier))
        earlier.needed_by.add(run)
        return await asyncio.shield(earlier.ready)

    def released(self, run: str) -> None:
        """A run is over: an earlier plan that nobody else needs is taken out of service."""
        for origin, earlier in tuple(self._earlier.items()):
            earlier.needed_by.discard(run)
            if not earlier.needed_by:
                del self._earlier[origin]  # whoever comes now must not be given what is about to stop
                earlier.unneeded.set()

    async def _serve(self, origin: str, earlier: _Earlier) -> None:
        """Keep an earlier plan in service until its runs are over."""
        try:
            loaded, prepared = await asyncio.to_thread(self._unpack, origin)
        except (SpecError, IsolationError, JournalError, msgspec.DecodeError) as error:
            self._refuse(origin, earlier, _why_no_plan(error))
            return
        generations: Mapping[str, Generation] = {}
        earlier.plugins = frozenset(prepared)
        try:
            handed = await asyncio.to_thread(self._vault.hand_over, loaded.plan)
            generations = await self._fleet.start(wanted_of(loaded, prepared, handed))
            earlier.ready.set_result(self._join(loaded, generations, handed, origin))
            await earlier.unneeded.wait()
        except IsolationError as error:
            self._refuse(origin, earlier, f"its generation cannot be started: {error}")
        finally:
            self._forget(origin, earlier)
            await asyncio.gather(*map(self._fleet.stop, generations.values()))
            for one in prepared.values():
                self._store.release(one)

    def _forget(self, origin: str, earlier: _Earlier) -> None:
        if self._earlier.get(origin) is earlier:
            del self._earlier[origin]

    def _refuse(self, origin: str, earlier: _Earlier, why: str) -> None:
        self._forget(origin, earlier)
        if not earlier.ready.done():
            earlier.ready.set_exception(RunNotHad(why))
            earlier.ready.exception()

    def _unpack(self, origin: str) -> tuple[Loaded, dict[str, Prepared]]:
        body = self.journal.plan(origin)
        if body is None:
            raise JournalError(f"plan {origin} is not in the journal")
        plan = read_archive(body)
        # The files first: a plan whose plugins are gone would be said to be wrong.
        prepared: dict[str, Prepared] = {}
        try:
            for name, plugin in plan.plugins.items():
                prepared[name] = self._store.revive(plugin.prepared)
            return plan.load(), prepared
        except BaseException:
            for one in prepared.values():
                self._store.release(one)
            raise


def _why_no_plan(error: Exception) -> str:
    if isinstance(error, IsolationError):
        return f"its plugins cannot be had: {error}"
    if isinstance(error, SpecError):
        mistakes = [str(problem) for problem in error.problems if problem.severity is Severity.ERROR]
        return f"this penstock does not take its plan any more: {'; '.join(mistakes)}"
    return f"its plan cannot be read: {error}"
