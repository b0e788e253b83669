"""Keeps the replicas of one generation alive: starts workers, waits for their ends, starts others.

Each replica has a keeper, a coroutine owned by the supervisor's task group, which starts a worker, waits for its end
and asks the rules (`isolation/supervision.py`) whether to start another. No call passes through here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Protocol

from isolation.configuring import Configurations
from isolation.errors import CallError, ConfigureError, ExitReport, NotSent, PluginFailed, StartError, Stopping
from isolation.spec import WorkerSpec
from isolation.status import (
    Degraded,
    Failed,
    GenerationEvent,
    Restarted,
    RestartScheduled,
    Stopped,
    WorkerEnded,
    WorkerNotStarted,
    WorkerReady,
)
from isolation.supervision import Intensity, State, Supervision
from isolation.worker import Worker, WorkerEvents

__all__ = ["Routing", "Supervisor"]

log = logging.getLogger("penstock.generation")


class Routing(WorkerEvents, Protocol):
    """What the supervisor tells whoever hands calls to its workers."""

    def ended(self, worker: Worker) -> None:
        """The worker is gone and owes nothing any more."""

    def refused(self, reason: NotSent) -> None:
        """No worker takes calls, and none will until something changes."""


class Supervisor:
    """The workers of one generation and their keepers. `routing` is told of every worker that comes and goes.

    `notify` is called on the loop, after the fact; what it raises goes to the loop's exception handler.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        configs: Mapping[str, object],
        wanted: int,
        intensity: Intensity,
        routing: Routing,
        notify: Callable[[GenerationEvent], None] | None,
    ) -> None:
        self.rules = Supervision(wanted, intensity, time.monotonic(), self._entered)
        self.alive = set[Worker]()
        """Every worker whose process is not gone, whether it takes calls or not."""
        self.ready: list[Worker] = []
        """The workers that take calls now; for others to look at."""
        self.last_exit: ExitReport | None = None
        self._spec = spec
        self._who = (spec.plugin, spec.digest)
        # Of one plugin a generation that serves and one that is tried may stand side by side.
        self._named = {"plugin": spec.plugin, "generation": spec.name}
        self._configurations = Configurations(spec.plugin, configs, self.ready, self.restart)
        self._routing = routing
        self._notify = notify
        self._retired: dict[Worker, asyncio.Future[None]] = {}
        self._number = 0
        self._pauses_end = asyncio.Event()
        self._stack = AsyncExitStack()

    @property
    def started_workers(self) -> int:
        """How many were started so far, those that never came to be ready included."""
        return self._number

    def refusal(self) -> NotSent | None:
        """Why a call can be taken neither now nor later; None while it can."""
        if self.rules.is_over:
            return Stopping(f"{self._spec.plugin} is being stopped")
        return PluginFailed(self.rules.reason) if self.rules.state is State.FAILED else None

    async def open(self) -> None:
        """Begin to start the replicas. `close` must follow, in the same asyncio task."""
        self._loop = asyncio.get_running_loop()
        self._keepers = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._all_ready: asyncio.Future[None] = self._loop.create_future()
        self._keep_more(self.rules.wanted)

    async def started(self) -> None:
        """Wait until every replica is ready; raises StartError when that cannot be."""
        await asyncio.shield(self._all_ready)

    async def restart(self) -> None:
        """Forget earlier ends, start every missing replica at once, and wait until all are ready.

        Raises StartError when one of these starts fails; as in OTP it is not tried again then by itself. Replicas
        that are ready serve on all the while. Who stops waiting stops nothing.
        """
        if self.rules.is_over:
            raise StartError(f"{self._spec.plugin}: is being stopped")
        if self._all_ready.done():
            self._all_ready = self._loop.create_future()
        self._keep_more(self.rules.restart(time.monotonic()))
        await self.started()
        self._tell(Restarted(*self._who))

    @property
    def table(self) -> Mapping[str, object]:
        """The configurations in force."""
        return self._configurations.in_force

    async def configure(self, configs: Mapping[str, object]) -> None:
        """Give every replica a new table of configurations. Raises ConfigureError; the old table holds then.

        Who stops waiting stops nothing.
        """
        if self.rules.is_over:
            raise ConfigureError(self._spec.plugin, self._spec.plugin, "it is being stopped")
        done: asyncio.Future[None] = self._loop.create_future()
        self._keepers.create_task(self._configure(configs, done))
        await asyncio.shield(done)

    async def _configure(self, configs: Mapping[str, object], done: asyncio.Future[None]) -> None:
        try:
            await self._configurations.replace(configs)
        except ConfigureError as error:
            log.warning("generation.not_configured", extra={**self._named, "reason": str(error)})
            done.set_exception(error)
            done.exception()  # nobody has to wait for it
        else:
            done.set_result(None)
        finally:
            done.cancel()  # where the supervisor itself was given up

    async def close(self) -> None:
        """Stop every worker. Bounded by the stop ladder."""
        self.rules.stop(time.monotonic())
        try:
            await asyncio.gather(*(worker.stop() for worker in self.alive))
        finally:
            await self._stack.aclose()
            self.rules.stopped(time.monotonic())

    # Keepers.

    def _keep_more(self, replicas: int) -> None:
        for _ in range(replicas):
            self._keepers.create_task(self._keep())

    async def _keep(self) -> None:
        reason = ""
        while self.rules.starts and not reason:
            reason = await self._live_and_pause()
        self.rules.let_go(time.monotonic(), reason)

    async def _live_and_pause(self) -> str:
        """See one worker through its life, and wait until the next may start; return why none may, "" if it may."""
        awaited = self._all_ready
        try:
            planned = await self._live()
        except StartError as error:
            planned = False
            log.warning("worker.not_started", extra={**self._named, "reason": str(error)})
            self._tell(WorkerNotStarted(*self._who, str(error)))
            if awaited is self._all_ready and not awaited.done():
                self._end_start(error)
                return str(error)
        pause = self.rules.ended(time.monotonic(), planned=planned)
        if pause is None:
            return f"{self._spec.plugin} failed: its workers ended more often than its restart intensity allows"
        self._tell(RestartScheduled(*self._who, pause))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._pauses_end.wait()
        return ""

    async def _live(self) -> bool:
        """Start a worker and wait until it takes no more calls; say whether that was planned. Raises StartError."""
        self._number += 1
        try:
            worker = Worker(self._spec, self._number, self._routing, self._loop)
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument or in the environment
            raise StartError(f"{self._spec.plugin}: cannot start {self._spec.python}: {error}") from error
        self.alive.add(worker)
        worker.gone.add_done_callback(partial(self._ended, worker))
        retired = self._retired[worker] = self._loop.create_future()
        configs = self._configurations.in_force
        await worker.start(configs)
        while configs is not self._configurations.in_force:  # they were replaced while it started
            configs = self._configurations.in_force
            await self._configure_late(worker, configs)
        self._join(worker)
        await retired
        return worker.planned_end

    async def _configure_late(self, worker: Worker, configs: Mapping[str, object]) -> None:
        try:
            await worker.configure(configs)
        except CallError as error:
            worker.kill("refused its configurations")
            await asyncio.shield(worker.gone)
            raise StartError(f"{self._spec.plugin}: refused its configurations: {error}") from error

    def _join(self, worker: Worker) -> None:
        log.info("worker.ready", extra={**self._named, "worker": worker.name, "pid": worker.pid})
        self.ready.append(worker)
        self._tell(WorkerReady(*self._who, worker.name, worker.pid))
        self.rules.joined(time.monotonic())
        self._routing.freed(worker)

    def retired(self, worker: Worker) -> None:
        """Note that `worker` takes no more calls."""
        if worker in self.ready:
            self.ready.remove(worker)
            self.rules.left()
        done = self._retired.pop(worker, None)
        if done is not None and not done.done():
            done.set_result(None)

    def _ended(self, worker: Worker, gone: asyncio.Future[ExitReport]) -> None:
        self.alive.discard(worker)
        report = self.last_exit = gone.result()
        fields = {**self._named, "worker": worker.name, "how": str(report)}
        log.log(logging.INFO if worker.planned_end else logging.WARNING, "worker.ended", extra=fields)
        self._tell(WorkerEnded(*self._who, worker.name, worker.planned_end, report))
        self._routing.ended(worker)

    # What follows from a change of state.

    def _entered(self, state: State) -> None:
        self._end_pauses()
        if state is State.RUNNING:
            self._end_start(None)
        elif state is State.DEGRADED:
            self._gave_up("generation.degraded")
            self._tell(Degraded(*self._who, self.rules.reason, self.rules.ready))
        elif state is State.FAILED:
            self._gave_up("generation.failed")
            self._tell(Failed(*self._who, self.rules.reason))
        elif state is State.STOPPING:
            self._end_start(StartError(f"{self._spec.plugin}: was stopped while it was starting"))
        elif state is State.STOPPED:
            self._tell(Stopped(*self._who))
        refusal = self.refusal()
        if refusal is not None:
            self._routing.refused(refusal)

    def _gave_up(self, message: str) -> None:
        log.error(message, extra={**self._named, "reason": self.rules.reason})
        self._end_start(StartError(self.rules.reason))

    def _end_start(self, error: StartError | None) -> None:
        if self._all_ready.done():
            return
        if error is None:
            self._all_ready.set_result(None)
        else:
            self._all_ready.set_exception(error)
            self._all_ready.exception()  # nobody has to wait for it

    def _end_pauses(self) -> None:
        self._pauses_end.set()
        self._pauses_end = asyncio.Event()

    def _tell(self, event: GenerationEvent) -> None:
        if self._notify is not None:
            self._loop.call_soon(self._notify, event)
