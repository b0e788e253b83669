"""Takes the calls of hooks in and keeps what is not over: calls not answered, runs not closed.

Knows routes and runs; starts no process and reads no file. Whatever happens, every call gets its verdict by its
deadline, and anything unforeseen is a denial.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from orchestrator.clock import Clock, LoopClock
from orchestrator.contexts import request_id_of
from orchestrator.door import admit_context, admit_payload, admit_trace
from orchestrator.engine.hookcall import HookCall, Reply, refused
from orchestrator.engine.lasting import Lasting, Recorder
from orchestrator.engine.traversal import Onlooker, Traversal
from orchestrator.engine.wiring import Serving
from orchestrator.faults import SHUTDOWN, StageFault
from orchestrator.ids import RunIds
from pipelines.body import Body, encode

__all__ = ["NO_DEADLINE_SECONDS", "Engine", "HookCall", "Memory", "Reply", "UnknownHook", "UnknownPipeline"]

NO_DEADLINE_SECONDS = 3600.0
"""Stands for the hook's deadline where the door names none; each run still has its pipeline's own."""

PARKED_RUNS = 1000
"""Runs without a journal whose compensation waits for a human; the oldest are forgotten first."""

_HELD = StageFault(
    "DeadlineExceeded", "penstock.timeout", "the hook's calls waited for a plugin that is being replaced, too long"
)

_WITHDRAWN = StageFault(
    "Interrupted", "penstock.interrupted", "what was to answer the call was taken out of service while it waited"
)

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


class Split(Protocol):
    """Gives some calls to a revision on trial."""

    def of(self, call: HookCall) -> Serving | None:
        """What is to answer a new call; None for what answers the others."""


class Engine:
    """Takes every call to what serves. `serving` is replaced in one assignment; a call under way keeps what it has.

    `split`, where there is one, is asked first. `ended` is told of every run when it is over, its verdict and all that
    followed it, `untaken` of every call that no run took, `told` of every call when it is answered. `open` are the runs
    that last, until they are closed. `onlooker`, where there is one, looks at the stages of runs that begin from now
    on; `answers` counts the calls that were answered.
    """

    split: Split | None = None
    onlooker: Onlooker | None = None
    answers = 0

    def __init__(
        self,
        serving: Serving,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Clock | None = None,
        recorder: Memory | None = None,
        ids: Ids | None = None,
        ended: Callable[[Traversal], None] = lambda run: None,
        told: Callable[[HookCall], None] = lambda call: None,
        untaken: Callable[[HookCall, Reply], None] = lambda call, reply: None,
    ) -> None:
        self.serving = serving
        self.loop = loop
        self.clock = clock or LoopClock(loop)
        self.recorder = recorder
        self.ids = ids or RunIds()
        self.open: dict[str, Lasting] = {}
        self.parked: dict[str, Lasting] = {}
        self.told = told
        self._ended = ended
        self._untaken = untaken
        self._calls = set[HookCall]()
        self._held: frozenset[str] = frozenset()
        self._drains: list[tuple[int, frozenset[str] | None, asyncio.Event]] = []
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
        trace: str = "",
        request_id: str = "",
    ) -> HookCall:
        """Take a call in; its `reply` is a future that always gets a result.

        Raises UnknownHook, UnknownPipeline and DoorError.

        A Body has passed the door before and is taken as it is. `pipeline` limits the call to one pipeline;
        `mocks` answers stages, by their id, in their plugins' stead. `idempotency_key` is the caller's name for the
        call: a durable pipeline answers the same key with the run that it has. `trace` is a W3C traceparent;
        `request_id` counts where the context has none.
        """
        serving = self.serving
        if hook not in serving.hooks:
            raise UnknownHook(hook)
        deadline = self.clock.now() + within_seconds
        context = admit_context(context, request_id)
        call = HookCall(self, serving, hook, admit_payload(payload), context, deadline)
        call.key = idempotency_key
        if trace:
            call.trace = admit_trace(trace)
        if self.split is not None:
            self._divert(call)
        if pipeline is not None:
            if not any(route.plan.name == pipeline for chain in call.serving.routes.values() for route in chain):
                raise UnknownPipeline(pipeline)
            call.left = tuple(route for route in call.left if route.plan.name == pipeline)
        if mocks:
            call.mocks = {stage: encode(answer) for stage, answer in mocks.items()}
        if self._closing:
            call.give(refused(call, SHUTDOWN))
            return call
        self._calls.add(call)
        call.serving.calls += 1
        if hook in self._held and call.left:
            self._wait(call, pipeline)
        else:
            call.advance()
        return call

    def _divert(self, call: HookCall) -> None:
        assert self.split is not None
        serving = self.split.of(call)
        if serving is not None:
            call.serving = serving
            call.left = serving.routes.get(call.hook, ())

    # While a plugin of which there can be only one generation is replaced, the calls of its hooks wait whole.

    def hold(self, hooks: frozenset[str]) -> None:
        """Let new calls of these hooks wait, each until its deadline, for `release`."""
        self._held = hooks

    def _wait(self, call: HookCall, pipeline: str | None) -> None:
        longest = max((route.plan.deadline_seconds for route in call.left), default=0.0)
        now = self.clock.now()
        call.deadline = min(call.deadline, now + longest)
        call.waits = True
        call.pipeline = pipeline
        self.clock.later(call.deadline - now, lambda: self._no_longer(call))

    def _no_longer(self, call: HookCall) -> None:
        if call.waits:
            call.give(refused(call, _HELD))

    def release(self) -> None:
        """Answer the calls that wait, by what serves now."""
        if not self._held:
            return
        self._held = frozenset()
        for call in [call for call in self._calls if call.waits and call.given is None]:
            call.waits = False
            call.serving.calls -= 1
            call.serving = self.serving
            call.serving.calls += 1
            routes = self.serving.routes.get(call.hook, ())
            call.left = tuple(route for route in routes if call.pipeline in (None, route.plan.name))
            if call.left or (call.hook in self.serving.hooks and call.pipeline is None):
                call.advance()
            else:
                call.give(refused(call, _WITHDRAWN))  # a new call would be told that there is no such thing

    # What is left of a revision.

    def holders(self, revision: int, hooks: frozenset[str] | None = None) -> tuple[str, ...]:
        """The ids of the runs that still need a revision, sorted; with `hooks` only those of these hooks."""
        calls = (call for call in self._calls if call.serving.revision == revision and not call.waits)
        under_way = {run.id for call in calls if hooks is None or call.hook in hooks for run in call.runs}
        runs = (run for run in self.open.values() if run.route.revision == revision)
        lasting = {run.id for run in runs if hooks is None or run.route.plan.hook.name in hooks}
        return tuple(sorted(under_way | lasting))

    async def drained(self, revision: int, hooks: frozenset[str] | None = None) -> None:
        """Wait until no call and no run needs a revision any more; with `hooks` none of these hooks."""
        while self._needed(revision, hooks):
            look_again = asyncio.Event()
            drain = (revision, hooks, look_again)
            self._drains.append(drain)
            try:
                await look_again.wait()
            finally:
                self._drains.remove(drain)

    def _needed(self, revision: int, hooks: frozenset[str] | None) -> bool:
        for call in self._calls:
            if call.serving.revision == revision and not call.waits and (hooks is None or call.hook in hooks):
                return True
        return any(
            run.route.revision == revision and (hooks is None or run.route.plan.hook.name in hooks)
            for run in self.open.values()
        )

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
            call.serving.calls -= 1
            if not call.runs and call.given is not None:
                self._untaken(call, call.given)
            for run in call.runs:
                if not isinstance(run, Lasting):
                    self._ended(run)
            self.told(call)
            if self._drains:
                self._look_at_drains(call.serving.revision, call.serving.calls)
            if self._closing:
                self._look()

    def opened(self, run: Lasting) -> None:
        """Keep a run until it is closed."""
        self.parked.pop(run.id, None)
        self.open[run.id] = run

    def forgotten(self, run: Lasting) -> None:
        """Forget a run that never was."""
        self.open.pop(run.id, None)
        self._look_at_drains(run.route.revision, 0)
        self._look()

    def closed(self, run: Lasting) -> None:
        """Forget a run that is over, unless it is parked and stands in no journal."""
        self.open.pop(run.id, None)
        if run.machine.parked and run.recorder is None:
            self.parked[run.id] = run
            if len(self.parked) > PARKED_RUNS:
                del self.parked[next(iter(self.parked))]
        self._ended(run)
        self._look_at_drains(run.route.revision, 0)
        self._look()

    def held(self, run: str) -> Lasting | None:
        """A run that is not over, or parked and in no journal."""
        return self.open.get(run) or self.parked.get(run)

    def traced(self, run: str) -> tuple[str, str] | None:
        """The request id and the trace of a run, each "" where its caller gave none; None when it is not under way."""
        found = self.held(run) or self._passing(run)
        return None if found is None else (request_id_of(found.context), found.trace)

    def _passing(self, run: str) -> Traversal | None:
        # Looked for, because few are ever asked for: an index would cost every run.
        return next((one for call in self._calls for one in call.runs if one.id == run), None)

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

    def _look_at_drains(self, revision: int, calls: int) -> None:
        for awaited, hooks, look_again in self._drains:
            if awaited == revision and (hooks is not None or not calls):
                look_again.set()

    def _look(self) -> None:
        if not self._closing or self._calls:
            return
        if all(run.waits_for_caller and not run.revoked_for for run in self.open.values()):
            self._idle.set()
