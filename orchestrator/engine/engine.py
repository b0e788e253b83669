"""Takes the calls of hooks in and keeps what is not over: calls not answered, runs not closed.

Knows routes and runs; starts no process and reads no file. Whatever happens, every call gets its verdict by its
deadline, and anything unforeseen is a denial.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from orchestrator.clock import Clock, LoopClock
from orchestrator.door import admit_context, admit_payload
from orchestrator.engine.hookcall import HookCall, Reply, refused
from orchestrator.engine.lasting import Lasting, Recorder
from orchestrator.engine.traversal import Onlooker, Traversal
from orchestrator.engine.wiring import Route
from orchestrator.faults import SHUTDOWN, StageFault
from orchestrator.ids import RunIds
from pipelines.body import Body, encode
from pipelines.plan import Unmatched

__all__ = ["NO_DEADLINE_SECONDS", "Engine", "HookCall", "Memory", "Reply", "UnknownHook", "UnknownPipeline"]

NO_DEADLINE_SECONDS = 3600.0
"""Stands for the hook's deadline where the door names none; each run still has its pipeline's own."""

PARKED_RUNS = 1000
"""Runs without a journal whose compensation waits for a human; the oldest are forgotten first."""

_GONE = StageFault("Interrupted", "penstock.interrupted", "the run that has this idempotency_key cannot be read back")


class UnknownHook(LookupError):
    """The pipeline file and the catalogue know no such hook."""

    code = "penstock.unknown_hook"
    hint = "docs/hooks.md lists the hooks; a custom one is declared under `hooks` in the pipeline file"


class UnknownPipeline(LookupError):
    """The pipeline file has no pipeline of this name."""

    code = "penstock.unknown_pipeline"
    hint = "`penstock graph FILE` shows the pipelines of a file"


class Ids(Protocol):
    """Where the ids of runs come from."""

    def next(self, now: float) -> str:
        """A new one; `now` is the monotonic clock in seconds."""


class Memory(Recorder, Protocol):
    """A journal as the engine sees it."""

    def recall(self, run: str) -> Lasting | None:
        """A run that is over, read back; None when it cannot be."""


class Engine:
    """Routes in service. `routes` may be replaced in one assignment; runs under way keep theirs.

    `ended` is told of every run when it is over, its verdict and all that followed it. `onlooker`, where there is one,
    looks at the stages of runs that begin from now on; `answers` counts the calls that were answered.
    """

    onlooker: Onlooker | None = None
    answers = 0

    def __init__(
        self,
        routes: Mapping[str, tuple[Route, ...]],
        unmatched: Mapping[str, Unmatched],
        hooks: frozenset[str],
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Clock | None = None,
        recorder: Memory | None = None,
        ids: Ids | None = None,
        ended: Callable[[Traversal], None] = lambda run: None,
    ) -> None:
        self.routes = routes
        self.unmatched = unmatched
        self.hooks = hooks
        self.loop = loop
        self.clock = clock or LoopClock(loop)
        self.recorder = recorder
        self.ids = ids or RunIds()
        self.open: dict[str, Lasting] = {}
        self.parked: dict[str, Lasting] = {}
        self._ended = ended
        self._calls = set[HookCall]()
        self._closing = False
        self._idle = asyncio.Event()

    def submit(
        self,
        hook: str,
        payload: bytes | Mapping[str, object] | Body,
        context: bytes | Mapping[str, object] | Body | None = None,
        *,
        within_seconds: float = NO_DEADLINE_SECONDS,
        pipeline: str | None = None,
        mocks: Mapping[str, Mapping[str, object]] | None = None,
        idempotency_key: str | None = None,
    ) -> HookCall:
        """Take a call in; its `reply` is a future that always gets a result.

        Raises UnknownHook, UnknownPipeline and DoorError.

        A Body has passed the door before and is taken as it is. `pipeline` limits the call to one pipeline;
        `mocks` answers stages, by their id, in their plugins' stead. `idempotency_key` is the caller's name for the
        call: a durable pipeline answers the same key with the run that it has.
        """
        if hook not in self.hooks:
            raise UnknownHook(hook)
        deadline = self.clock.now() + within_seconds
        call = HookCall(self, hook, admit_payload(payload), admit_context(context), deadline)
        call.key = idempotency_key
        if pipeline is not None:
            if not any(route.plan.name == pipeline for chain in self.routes.values() for route in chain):
                raise UnknownPipeline(pipeline)
            call.left = tuple(route for route in call.left if route.plan.name == pipeline)
        if mocks:
            call.mocks = {stage: encode(answer) for stage, answer in mocks.items()}
        if self._closing:
            call.give(refused(call, SHUTDOWN))
        else:
            self._calls.add(call)
            call.advance()
        return call

    @property
    def under_way(self) -> int:
        """Calls that are not answered yet."""
        return len(self._calls)

    # What calls and runs tell.

    def answered(self, call: HookCall) -> None:
        """Forget a call that was answered."""
        if call in self._calls:
            self._calls.discard(call)
            self.answers += 1
            for run in call.runs:
                if not isinstance(run, Lasting):
                    self._ended(run)
            self._look()

    def opened(self, run: Lasting) -> None:
        """Keep a run until it is closed."""
        self.parked.pop(run.id, None)
        self.open[run.id] = run

    def forgotten(self, run: Lasting) -> None:
        """Forget a run that never was."""
        self.open.pop(run.id, None)
        self._look()

    def closed(self, run: Lasting) -> None:
        """Forget a run that is over, unless it is parked and stands in no journal."""
        self.open.pop(run.id, None)
        if run.machine.parked and run.recorder is None:
            self.parked[run.id] = run
            if len(self.parked) > PARKED_RUNS:
                del self.parked[next(iter(self.parked))]
        self._ended(run)
        self._look()

    def held(self, run: str) -> Lasting | None:
        """A run that is not over, or parked and in no journal."""
        return self.open.get(run) or self.parked.get(run)

    def find(self, run: str, take: Callable[[Lasting | StageFault], None]) -> None:
        """Hand a run to `take`, whether it is over or not."""
        found = self.open.get(run) or (self.recorder.recall(run) if self.recorder is not None else None)
        take(found or _GONE)

    # The end.

    async def close(self, within_seconds: float = 0.0) -> None:
        """Deny what is under way and whatever still comes; wait at most so long for what has to be undone."""
        self._closing = True
        for call in list(self._calls):
            call.halt(SHUTDOWN)
        spoken_for = {run.id for call in self._calls for run in call.runs}
        for run in list(self.open.values()):
            # Nobody would know of it after us. What a call denies, it undoes itself, one pipeline after another.
            if run.recorder is None and run.id not in spoken_for and not run.revoked_for:
                run.revoke(SHUTDOWN.message)
        self._look()
        if not self._idle.is_set() and within_seconds:
            try:
                async with asyncio.timeout(within_seconds):
                    await self._idle.wait()
            except TimeoutError:
                pass

    def _look(self) -> None:
        if not self._closing or self._calls:
            return
        if all(run.waits_for_caller and not run.revoked_for for run in self.open.values()):
            self._idle.set()
