"""A pipeline file in service: environments prepared, workers ready, calls answered. Embeds without a daemon."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from isolation.generation import Generation
from isolation.store.filelock import FileLock
from isolation.store.store import Store
from orchestrator.clock import LoopClock
from orchestrator.contexts import request_id_of
from orchestrator.control.commands import Control
from orchestrator.control.socket import served
from orchestrator.door import DoorError
from orchestrator.durable.durability import Durability, RunNotHad, RunStands
from orchestrator.engine.engine import NO_DEADLINE_SECONDS, Engine, HookCall, Reply, UnknownHook, UnknownPipeline
from orchestrator.engine.lasting import Lasting
from orchestrator.engine.traversal import Traversal
from orchestrator.engine.wiring import Route, routes_of
from orchestrator.events import BreakerChanged, ChangeApplied, Events, RunEnded, RunParked
from orchestrator.generations import Fleet, StartEvent, StartFailures
from orchestrator.loading import Loaded
from orchestrator.lookout.lookout import Lookout
from orchestrator.lookout.taps import Taps
from orchestrator.metrics.in_service import InService
from orchestrator.metrics.metrics import HEARD, Metrics
from orchestrator.record.records import records_of
from orchestrator.record.ring import Ring, Untaken
from orchestrator.record.summary import Summary, brief
from orchestrator.resilience.breakers import Breakers
from orchestrator.resilience.listening import Listener
from orchestrator.revisions.candidates import Candidates
from orchestrator.revisions.freezing import Freezing
from orchestrator.revisions.history import History
from orchestrator.revisions.overrides import Overrides
from orchestrator.revisions.plans import Plans
from orchestrator.revisions.revisions import Revisions
from orchestrator.run_logs import traced_logs
from orchestrator.secrets import Handover, Vault
from orchestrator.signing.key import signing_key
from orchestrator.signing.statements import STATEMENTS_FILE, Signatory
from orchestrator.state import HISTORY_FOLDER, RING_FILE, hold_state, state_folder
from orchestrator.watching import Watch
from pipelines.body import Body
from pipelines.plan import Plan
from pipelines.run import Undo

log = logging.getLogger("penstock.orchestrator")

FROZEN = "frozen.json"
"""There as long as the watcher holds back."""

OVERRIDES = "overrides.json"
"""There as long as a stage is overridden."""

__all__ = ["HookResult", "Orchestrator", "StartEvent", "StartFailures"]


class HookResult(msgspec.Struct, frozen=True):
    """The answer to a hook's call. `payload` is JSON bytes; `records` are the objects of `penstock run --json`."""

    reply: Reply

    @property
    def verdict(self) -> str:
        """allow, modify or deny."""
        return self.reply.verdict

    @property
    def payload(self) -> bytes:
        """The payload as the pipelines left it; as it came in where the verdict is deny."""
        return self.reply.payload

    @property
    def lasting(self) -> tuple[Lasting, ...]:
        """The runs that go on after their verdict."""
        return tuple(run for run in self.reply.runs if isinstance(run, Lasting))

    @property
    def records(self) -> list[dict[str, object]]:
        """One object a run, made when asked for: what follows a verdict shows as far as it has come."""
        return records_of(self.reply)


class Orchestrator:
    """Use it as an async context manager: inside, every plugin is ready and durable runs of before are taken up.

    Entering raises EnvironmentBuildError, StartFailures and, where the file has durable pipelines, JournalError; where
    a stage has something signed, SigningKeyError.
    `report` is told of every step; it is called from other threads too. `state` is the folder of the journal; where it
    is None, the one that `orchestrator.state` names. With `rehearsal` nothing is journaled: for tests of a file.
    `hold` is the lock of that folder where the caller has it already, and keeps it for longer. A host that holds it, or
    `keeps_history`, has its revisions there too, and always a journal; it serves what served last where the files hold
    what was rolled back from or on trial, unless it `follows_files`.
    """

    engine: Engine
    revisions: Revisions
    freezing: Freezing
    overrides: Overrides
    control: Control
    watch: Watch | None = None
    lookout: Lookout
    durability: Durability | None = None
    _signatory: Signatory | None = None

    def __init__(
        self,
        loaded: Loaded,
        store: Store,
        *,
        report: Callable[[StartEvent], None] | None = None,
        state: Path | None = None,
        rehearsal: bool = False,
        keeps_history: bool = False,
        hold: FileLock | None = None,
        follows_files: bool = False,
        vault: Vault | None = None,
    ) -> None:
        self.store = store
        self.events = Events()
        self.ring = Ring()
        self.metrics = Metrics(InService(self))
        self.events.subscribe(self.metrics.hear, HEARD)
        self.state = state or state_folder(loaded.path)
        self._first = loaded
        self._report = report or (lambda event: None)
        self._rehearsal = rehearsal
        self._keeps_history = keeps_history or hold is not None
        self._hold = hold
        self._follows_files = follows_files
        self._stack = AsyncExitStack()
        self._draw = random.Random().uniform
        self.vault = vault or Vault()

    @property
    def loaded(self) -> Loaded:
        """The checked file in service."""
        return self.revisions.current.loaded

    @property
    def generations(self) -> Mapping[str, Generation]:
        """The generation of every plugin in service, by its name in the file."""
        return self.revisions.current.generations

    async def __aenter__(self) -> Orchestrator:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _open(self) -> None:
        """Open one step after the other; the stack closes them the other way round."""
        clock = LoopClock(asyncio.get_running_loop())
        fleet = self._observed_fleet(clock)
        await self._keep_revisions(fleet, clock)
        await self._start(fleet)
        await self._take_calls(clock)
        await self._sign()
        if self.durability is not None:
            self.engine.recorder = self.durability.recorder(self.engine)
            await self.durability.recover()
        self.control = Control(self)
        if not self._rehearsal:
            await self._stack.enter_async_context(self._known())

    def _observed_fleet(self, clock: LoopClock) -> Fleet:
        """Begin to measure and to listen, before there is anything to hear."""
        listener = Listener(lambda name, before, after: self.events.publish(BreakerChanged(name, before, after)))
        self.breakers = Breakers(clock.now, (listener,))
        self.metrics.pulse.start(clock)
        self._stack.callback(self.metrics.pulse.stop)
        self.lookout = Lookout(clock, asyncio.get_running_loop(), self._hang)
        self._stack.enter_context(self.lookout.logbook.listening())
        return Fleet(self.events.publish, self.lookout.logbook.hear)

    async def _keep_revisions(self, fleet: Fleet, clock: LoopClock) -> None:
        """Open the journal and what the folder has of revisions, of which none is started yet."""
        # A host that keeps a history may be given a durable pipeline later.
        if (self._first.plan.durable or self._keeps_history) and not self._rehearsal:
            self.durability = Durability(self.state, self.store, fleet, self.events, self._join, self.vault)
            await self._stack.enter_async_context(self.durability)
        folder = self.state / HISTORY_FOLDER if self._keeps_history else None
        history = History(folder)
        await asyncio.to_thread(history.load)
        candidates = Candidates(self._first.path, self._first.profile, self.store, self.vault)
        candidates.was_read(self._first)
        plans = Plans(history, self._join, self.durability, journaled=not self._rehearsal)
        self.revisions = Revisions(self.store, fleet, self.breakers, plans, candidates, self.events.publish)
        self.freezing = Freezing(None if folder is None else folder / FROZEN, self.events.publish)
        overrides_file = None if folder is None else folder / OVERRIDES
        self.overrides = Overrides(overrides_file, self.revisions, clock, self.events.publish)
        self.overrides.load()

    async def _start(self, fleet: Fleet) -> None:
        """Make every plugin of the first revision ready."""
        self._stack.callback(self.revisions.let_go)
        await self._stack.enter_async_context(fleet)
        candidates = self.revisions.candidates
        # Who holds the folder for us may watch the files: what they are then has to be known from the beginning.
        reads = candidates.overrides or self._hold is not None
        made = candidates.from_files if reads else partial(candidates.prepared, self._first)
        await self.revisions.first(made, self._report, follows_files=self._follows_files)
        self.events.subscribe(self.overrides.hear, (ChangeApplied,))

    async def _take_calls(self, clock: LoopClock) -> None:
        """Give the first revision to an engine; from here on one may follow another."""
        self.engine = Engine(
            self.revisions.current.serving,
            asyncio.get_running_loop(),
            clock=clock,
            ended=self._ended,
            untaken=self._untaken,
            told=self.metrics.answered,
        )
        self.revisions.engine = self.engine
        self._stack.push_async_callback(self._close_engine)
        self._stack.enter_context(traced_logs(self._asked))
        await self._stack.enter_async_context(self.revisions)
        await self._stack.enter_async_context(self.overrides)

    async def _sign(self) -> None:
        """Have a key at hand where something is signed, or may be later."""
        if not self._rehearsal and (self._keeps_history or _signs(self._first.plan)):
            key = await asyncio.to_thread(signing_key, self.state)
            self._signatory = Signatory(key, self.state / STATEMENTS_FILE)
            self._stack.callback(self._signatory.close)

    def _asked(self, run: str) -> tuple[str, str] | None:
        """With which request id and trace a run was asked for, if it is under way or ended lately."""
        return self.engine.traced(run) or self.ring.asked(run)

    async def _close_engine(self) -> None:
        await self.engine.close(self.revisions.undo_seconds)

    @asynccontextmanager
    async def _known(self) -> AsyncIterator[None]:
        """Be found by commands, and remember runs for the next start, where the folder lets us."""
        hold = hold_state(self.state) if self._hold is None else nullcontext()
        if hold is None:
            yield
            return
        with hold:
            memory = self.state / RING_FILE
            self.ring.load(memory)
            async with AsyncExitStack() as door:
                try:
                    await door.enter_async_context(served(self.control, self.state))
                except OSError as error:
                    log.warning("control.not_served", extra={"where": str(self.state), "reason": str(error)})
                yield
            try:
                self.ring.save(memory)
            except OSError as error:
                log.warning("ring.not_saved", extra={"where": str(memory), "reason": str(error)})

    def _join(
        self,
        loaded: Loaded,
        generations: Mapping[str, Generation],
        handed: Mapping[str, Handover],
        origin: str,
        revision: int = 0,
    ) -> dict[str, tuple[Route, ...]]:
        ids = {name: handover.ids for name, handover in handed.items()}
        return routes_of(loaded.plan.routes, generations, self.breakers, self._draw, origin, revision, ids)

    def _hang(self, taps: Taps | None) -> None:
        self.engine.onlooker = taps

    def _untaken(self, call: HookCall, reply: Reply) -> None:
        violation = reply.violation
        code, reason = (None, None) if violation is None else (violation.code, brief(violation.reason))
        clock, request_id = self.engine.clock, request_id_of(call.context)
        self.ring.untaken.append(Untaken(request_id, call.hook, reply.verdict, code, reason, clock.wall()))

    def _ended(self, run: Traversal) -> None:
        summary = Summary.of(run)
        self.ring.add(summary)
        self.revisions.ended(run)
        self.lookout.meters.add(summary)
        if self.events.heard:
            self.events.publish(RunEnded(summary.record()))
        if isinstance(run, Lasting):
            self._closed(run, summary)

    def _closed(self, run: Lasting, summary: Summary) -> None:
        self.metrics.closed(run)
        if run.machine.parked:
            self._parked(run, summary)
        if summary.status == "parked":
            event = RunParked(run.id, summary.pipeline, summary.reason, summary.request_id, summary.trace)
            log.warning("run.parked", extra=asdict(event))
            self.events.publish(event)
        if self.durability is not None:
            self.durability.released(run.id)

    def _parked(self, run: Lasting, summary: Summary) -> None:
        """Say so with everything that is needed to finish it by hand."""
        known = {"request_id": summary.request_id, "trace": summary.trace}
        for attempt in run.attempts:
            undo = attempt.undo if attempt is not None else None
            if undo is not None and undo.state is Undo.PARKED:
                why = undo.fault.message if undo.fault is not None else ""
                fields = {"run": run.id, "stage": undo.undoes, "undo": f"{undo.plugin}/{undo.stage}", "reason": why}
                log.error("undo.parked", extra=fields | known)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def invoke(
        self,
        hook: str,
        payload: bytes | Mapping[str, object] | Body,
        context: bytes | Mapping[str, object] | Body | None = None,
        *,
        within_seconds: float = NO_DEADLINE_SECONDS,
        pipeline: str | None = None,
        mocks: Mapping[str, Mapping[str, object]] | None = None,
        idempotency_key: str | None = None,
        trace: str = "",
        request_id: str = "",
    ) -> HookResult:
        """Answer one call of a hook. Raises UnknownHook and DoorError; everything else that goes wrong is a denial.

        A Body (`orchestrator.door`) has passed the door before and is taken as it is. `pipeline` runs only that one;
        `mocks` gives the answers of stages, by their id, in their plugins' stead. A durable pipeline answers an
        `idempotency_key` that it has seen with the verdict that it has, or will have. `trace` is the caller's W3C
        traceparent, handed on to plugins, logs and records; `request_id` counts where the context has none.
        """
        try:
            call: HookCall = self.engine.submit(
                hook,
                payload,
                context,
                within_seconds=within_seconds,
                pipeline=pipeline,
                mocks=mocks,
                idempotency_key=idempotency_key,
                trace=trace,
                request_id=request_id,
            )
        except (UnknownHook, UnknownPipeline, DoorError) as error:
            self.metrics.refused[error.code] += 1
            raise
        try:
            reply = await call.reply
        except asyncio.CancelledError:
            call.abandon()
            raise
        call.delivered()
        if self._signatory is not None:
            for run in reply.runs:
                if run.route.signs:
                    self._signatory.sign(run)
        return HookResult(reply)

    async def confirm(self, run: str) -> bool:
        """Say that what the verdict of a run allowed was done; False when it cannot be confirmed (any more).

        True is durable where the run is. For pipelines with `confirm_within`; an unconfirmed allow is undone.
        """
        found = self.engine.open.get(run)
        confirmed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if found is None or not found.confirm(partial(_resolve, confirmed)):
            return False
        return await confirmed

    async def conclude(self, result: HookResult) -> None:
        """Confirm what was allowed, and wait until nothing is left to do for the runs of a call."""
        for run in result.lasting:
            await self.confirm(run.id)
        for run in result.lasting:
            await self.settled(run)

    async def compensate(self, run: str, why: str = "asked for by command") -> Lasting:
        """Undo a run that was allowed, also one that is long over. Begins; `settled` waits.

        Raises RunNotHad, RunStands and JournalError.
        """
        found = self.engine.held(run) or await self._journal().fetch(run)
        self.engine.opened(found)
        if not found.revoke(why):
            self._put_back(found)
            raise RunStands(f"run {run} cannot be undone: it {_standing(found)}")
        return found

    async def resume(self, run: str) -> Lasting:
        """Go on with a parked run: try its compensations again. Raises RunNotHad and RunStands."""
        found = self.engine.held(run) or await self._journal().fetch(run)
        if not found.over and run not in self.engine.open:
            self._journal().take_up(found)  # it was parked because it could not be taken up
            return found
        self.engine.opened(found)
        if not found.resume():
            self._put_back(found)
            raise RunStands(f"run {run} cannot be resumed: it {_standing(found)}")
        return found

    def _put_back(self, run: Lasting) -> None:
        if run.over:
            self.engine.forgotten(run)
            self._journal().released(run.id)

    def _journal(self) -> Durability:
        if self.durability is None:
            raise RunNotHad("the file has no durable pipeline, so there is no journal")
        return self.durability

    async def settled(self, run: Lasting) -> None:
        """Wait until nothing is left to do for a run. Bounded by its undo deadline and its `finally`."""
        over: asyncio.Future[Lasting] = asyncio.get_running_loop().create_future()
        run.hear(partial(_resolve, over))
        await over


def _signs(plan: Plan) -> bool:
    return any(stage.signs for chain in plan.routes.values() for pipeline in chain for stage in pipeline.stages)


_Value = TypeVar("_Value")


def _resolve(future: asyncio.Future[_Value], value: _Value) -> None:
    if not future.done():
        future.set_result(value)


def _standing(run: Lasting) -> str:
    if run.machine.parked:
        return "is parked"
    if run.denied:
        return "was denied, and undone then"
    if run.revoked_for:
        return f"was undone already: {run.revoked_for}"
    return f"is {run.machine.phase.value}"
