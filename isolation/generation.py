"""All workers of one plugin at one digest: who takes the next call, what waits, and when a worker is started again.

Each replica has a keeper, a coroutine owned by the generation's task group, which starts a worker, waits for
its end and asks the restart log whether to start another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType

import msgspec

from isolation.call import Call
from isolation.errors import DeadlineExceeded, ExitReport, NotSent, PluginBusy, PluginFailed, StartError, Stopping
from isolation.protocol.life import State
from isolation.spec import WorkerSpec
from isolation.supervision import Intensity, RestartLog
from isolation.worker import Worker

__all__ = ["Generation"]

log = logging.getLogger("penstock.generation")

MAX_WAITING_CALLS = 1024
"""Calls that may wait for a free place before callers are told that the plugin is busy."""

NEVER = math.inf


class _Progress(msgspec.Struct):
    message: str = ""
    done: float | None = None
    total: float | None = None


class Generation:
    """The replicas of one plugin. Use it as an async context manager: inside, all replicas are ready.

    Entering raises StartError when the first start of a replica fails. `report` is told the message and the
    fraction (0 to 1, or None) of what plugins say while they start.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        configs: Mapping[str, object],
        *,
        replicas: int = 1,
        intensity: Intensity | None = None,
        report: Callable[[str, float | None], None] | None = None,
    ) -> None:
        self.spec = spec
        self.replicas = replicas
        self._configs = configs
        self._report = report
        self._restarts = RestartLog(intensity or Intensity())
        self._routable: list[Worker] = []
        self._alive = set[Worker]()
        self._waiting = deque[Call]()
        self._number = 0
        self._failure: str | None = None
        self._closing = False
        self._firsts: list[asyncio.Future[None]] = []
        self._retired: dict[Worker, asyncio.Future[None]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = NEVER
        self._stopping = asyncio.Event()
        self._stack = AsyncExitStack()

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that take calls now."""
        return tuple(self._routable)

    @property
    def waiting(self) -> int:
        """Calls that wait for a free place."""
        return sum(not call.settled for call in self._waiting)

    @property
    def failure(self) -> str | None:
        """Why the generation takes no calls any more; None while it does."""
        return None if self._routable else self._failure

    async def __aenter__(self) -> Generation:
        await self.open()
        try:
            await self.started()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Begin to start the replicas. `close` must follow, in the same asyncio task."""
        self._loop = asyncio.get_running_loop()
        keepers = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._firsts = [self._loop.create_future() for _ in range(self.replicas)]
        for first in self._firsts:
            keepers.create_task(self._keep(first))

    async def started(self) -> None:
        """Wait until every replica has been ready once; raises StartError when one could not be started."""
        await asyncio.gather(*self._firsts)

    async def close(self) -> None:
        """Stop every worker; calls that still wait fail as not sent. Bounded by the stop ladder."""
        self._closing = True
        self._stopping.set()
        self._give_up(Stopping(f"{self.spec.plugin} is being stopped"))
        try:
            await asyncio.gather(*(worker.stop() for worker in self._alive))
        finally:
            await self._stack.aclose()
            if self._alarm is not None:
                self._alarm.cancel()

    # Keeping replicas alive.

    async def _keep(self, first: asyncio.Future[None]) -> None:
        while not self._closing:
            planned = await self._live_once(first)
            if self._closing or not first.done() or first.cancelled() or first.exception():
                return
            pause = self._restarts.ended(self._loop.time(), planned=planned)
            if pause is None or self._failure is not None:
                self._fail()
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _live_once(self, first: asyncio.Future[None]) -> bool:
        """Start a worker and wait until it takes no more calls; say whether that was planned."""
        self._number += 1
        try:
            worker = Worker(self.spec, self._number, self, self._loop)
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument or in the environment
            self._not_started(first, StartError(f"{self.spec.plugin}: cannot start {self.spec.python}: {error}"))
            return False
        self._alive.add(worker)
        worker.gone.add_done_callback(partial(self._ended, worker))
        retired = self._retired[worker] = self._loop.create_future()
        try:
            await worker.start(self._configs)
        except StartError as error:
            self._not_started(first, error)
            return False
        if not first.done():
            first.set_result(None)
        log.info("worker.ready", extra={"plugin": self.spec.plugin, "worker": worker.name, "pid": worker.pid})
        self._routable.append(worker)
        self.freed(worker)
        await retired
        return worker.planned_end

    def _ended(self, worker: Worker, gone: asyncio.Future[ExitReport]) -> None:
        self._alive.discard(worker)
        report = gone.result()
        fields = {"plugin": self.spec.plugin, "worker": worker.name, "how": str(report)}
        log.log(logging.INFO if worker.planned_end else logging.WARNING, "worker.ended", extra=fields)

    def _not_started(self, first: asyncio.Future[None], error: StartError) -> None:
        if first.done():
            log.warning("worker.not_started", extra={"plugin": self.spec.plugin, "reason": str(error)})
        else:
            first.set_exception(error)

    def _fail(self) -> None:
        """Over the restart intensity: answer at once from now on."""
        if self._failure is None:
            log.error("generation.failed", extra={"plugin": self.spec.plugin})
            self._failure = f"{self.spec.plugin} failed: its workers ended more often than its restart intensity allows"
        if not self._routable:
            self._give_up(PluginFailed(self._failure))

    def _give_up(self, error: NotSent) -> None:
        while self._waiting:
            self._waiting.popleft().reject(error)

    # Calls.

    def submit(self, call: Call) -> None:
        """Give `call` to the least busy replica or let it wait. It ends exactly once, by its deadline."""
        now = time.monotonic()
        call.queued_at = now
        if now >= call.deadline:
            call.reject(DeadlineExceeded("no time was left for the call", sent=False))
            return
        if call.deadline < self._alarm_at:
            self._set_alarm(call.deadline, now)
        worker = None if self._waiting else self._least_busy()
        while worker is not None:
            if worker.invoke(call):
                return
            worker = self._least_busy()  # that one is gone, and routed around by now
        self._wait(call)

    def _least_busy(self) -> Worker | None:
        if len(self._routable) == 1:
            return self._routable[0] if self._routable[0].has_room else None
        best = None
        for worker in self._routable:
            if worker.has_room and (best is None or worker.outstanding < best.outstanding):
                best = worker
        return best

    def _wait(self, call: Call) -> None:
        refusal: NotSent | PluginBusy | None = None
        if self._closing:
            refusal = Stopping(f"{self.spec.plugin} is being stopped")
        elif self._failure is not None and not self._routable:
            refusal = PluginFailed(self._failure)
        elif self._is_full():
            refusal = PluginBusy(f"{MAX_WAITING_CALLS} calls wait for {self.spec.plugin}")
        if refusal is None:
            self._waiting.append(call)
        else:
            call.reject(refusal)

    def _is_full(self) -> bool:
        if len(self._waiting) < MAX_WAITING_CALLS:
            return False
        self._waiting = deque(call for call in self._waiting if not call.settled)
        return len(self._waiting) >= MAX_WAITING_CALLS

    def cancel(self, call: Call) -> None:
        """Nobody waits for `call` any more: it is not sent, or its answer is dropped."""
        worker = self._holder(call)
        if worker is not None:
            worker.cancel(call)
        else:
            call.settle()

    # One alarm for all calls: set to the earliest deadline, and moved only when it rings or an earlier one comes.

    def _set_alarm(self, at: float, now: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._loop.call_later(at - now, self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, NEVER
        now = time.monotonic()
        for call in self._unanswered():
            if call.deadline <= now:
                self._expire(call)
        left = [call.deadline for call in self._unanswered()]
        if left:
            self._set_alarm(min(left), now)

    def _unanswered(self) -> list[Call]:
        calls = [call for call in self._waiting if not call.settled]
        for worker in self._alive:
            calls += worker.calls()
        return [call for call in calls if not call.expired]

    def _expire(self, call: Call) -> None:
        call.expired = True
        worker = self._holder(call)
        if worker is not None:
            worker.expire(call)
        else:
            call.reject(DeadlineExceeded(f"no worker of {self.spec.plugin} was free in time", sent=False))

    def _holder(self, call: Call) -> Worker | None:
        return next((worker for worker in self._alive if worker.name == call.worker), None) if call.worker else None

    def freed(self, worker: Worker) -> None:
        """Hand waiting calls to `worker` while it has room."""
        while self._waiting and worker.has_room:
            call = self._waiting.popleft()
            if not call.settled and not worker.invoke(call):
                self._waiting.appendleft(call)
                for other in tuple(self._routable):  # the worker that is gone is not among them any more
                    self.freed(other)

    def retired(self, worker: Worker) -> None:
        """Route around `worker` from now on."""
        if worker in self._routable:
            self._routable.remove(worker)
        done = self._retired.pop(worker, None)
        if done is not None and not done.done():
            done.set_result(None)

    def progressed(self, worker: Worker, params: bytes) -> None:
        """Pass on what a plugin says while it starts."""
        if self._report is None:
            return
        try:
            said = msgspec.json.decode(params, type=_Progress)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        fraction = max(0.0, min(1.0, said.done / said.total)) if said.done is not None and said.total else None
        self._loop.call_soon(self._report, said.message, fraction)  # what it raises must not stop the reading

    @property
    def ready(self) -> bool:
        """Whether any replica takes calls."""
        return any(worker.state is State.READY for worker in self._routable)
