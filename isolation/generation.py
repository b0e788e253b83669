"""All workers of one plugin at one digest: who takes the next call, and what waits.

When a worker is started again is the supervisor's part (`isolation/supervisor.py`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import msgspec

from isolation.bulkhead import DEFAULT_QUEUE, Bulkhead
from isolation.call import Call
from isolation.errors import DeadlineExceeded, NotSent, PluginBusy
from isolation.plugin_log import LogLine
from isolation.protocol.life import State
from isolation.spec import WorkerSpec
from isolation.status import GenerationEvent, Status
from isolation.supervision import Intensity
from isolation.supervisor import Supervisor
from isolation.worker import Worker

__all__ = ["Generation"]

NEVER = math.inf


class _Progress(msgspec.Struct):
    message: str = ""
    done: float | None = None
    total: float | None = None


class Generation:
    """The replicas of one plugin. Use it as an async context manager: inside, all replicas are ready.

    Entering raises StartError when the first start of a replica fails. `report` is told the message and the
    fraction (0 to 1, or None) of what plugins say while they start, `notify` what becomes of the workers, `hear` the
    worker and the line of whatever the plugin logs, at any level.

    At most `concurrency` calls are with workers at once (None: only the workers' own windows bound them); one that
    was cancelled counts until the worker has answered it. At most `queue` wait; whoever comes then is told at once
    that the plugin is busy.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        configs: Mapping[str, object],
        *,
        replicas: int = 1,
        concurrency: int | None = None,
        queue: int = DEFAULT_QUEUE,
        intensity: Intensity | None = None,
        report: Callable[[str, float | None], None] | None = None,
        notify: Callable[[GenerationEvent], None] | None = None,
        hear: Callable[[str, LogLine], None] | None = None,
    ) -> None:
        self.spec = spec
        self.opened = math.nan
        """When its first workers were started, in seconds of the monotonic clock; not a number before that."""
        self._report = report
        self._hear = hear
        self._supervisor = Supervisor(spec, configs, replicas, intensity or Intensity(), self, notify)
        self._routable: Sequence[Worker] = self._supervisor.ready  # the very list: it changes as workers come and go
        self._bulkhead = Bulkhead[Call](concurrency, queue)
        self._bounded = concurrency is not None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = NEVER

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that take calls now."""
        return tuple(self._routable)

    @property
    def alive(self) -> tuple[Worker, ...]:
        """The workers whose processes are not gone, whether they take calls or not."""
        return tuple(self._supervisor.alive)

    @property
    def waiting(self) -> int:
        """Calls that wait for a free place."""
        return len(self._bulkhead.waiting)

    @property
    def failure(self) -> str | None:
        """Why the generation takes no calls any more; None while it does."""
        refusal = self._supervisor.refusal()
        return None if refusal is None else str(refusal)

    @property
    def status(self) -> Status:
        """The generation at this moment, for people and programs to look at."""
        rules = self._supervisor.rules
        return Status(
            plugin=self.spec.plugin,
            digest=self.spec.digest,
            state=rules.state,
            since=rules.since,
            wanted=rules.wanted,
            ready=rules.ready,
            owed=self._owed(),
            waiting=self.waiting,
            unplanned_ends=rules.unplanned_ends(time.monotonic()),
            reason=rules.reason,
            last_exit=self._supervisor.last_exit,
            restarts=max(0, self._supervisor.started_workers - rules.wanted),
            opened_at=self.opened,
        )

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
        self.opened = time.monotonic()
        await self._supervisor.open()

    async def started(self) -> None:
        """Wait until every replica is ready; raises StartError when one could not be started."""
        await self._supervisor.started()

    async def restart(self) -> None:
        """Forget earlier ends, start every missing replica at once, and wait until all are ready.

        Raises StartError when one of these starts fails; the generation is failed then, or degraded while another
        replica serves. Replicas that are ready are left alone. May be given up at any time: the starts go on.
        """
        await self._supervisor.restart()

    async def configure(self, configs: Mapping[str, object]) -> None:
        """Replace the table of configurations; calls go on meanwhile, each with the configuration that it names.

        So `configs` must hold the ids of all calls that are still out; leave ids out when their calls are over.
        Raises ConfigureError when one replica refuses: none has the new table then, and the old one holds. Replicas
        that start later get the newest table that was taken. Where no replica is left, they are started with it.
        May be given up at any time: the change goes on to its end.
        """
        await self._supervisor.configure(configs)

    @property
    def table(self) -> Mapping[str, object]:
        """The table of configurations that is in force."""
        return self._supervisor.table

    async def close(self) -> None:
        """Stop every worker; calls that still wait fail as not sent. Bounded by the stop ladder."""
        try:
            await self._supervisor.close()
        finally:
            if self._alarm is not None:
                self._alarm.cancel()

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
        worker = None if self._bulkhead.waiting else self._least_busy()
        while worker is not None:
            if worker.invoke(call):
                return
            worker = self._least_busy()  # that one is gone, and routed around by now
        self._wait(call)

    def _least_busy(self) -> Worker | None:
        if self._bounded and not self._bulkhead.admits(self._owed()):
            return None
        if len(self._routable) == 1:
            return self._routable[0] if self._routable[0].has_room else None
        best = None
        for worker in self._routable:
            if worker.has_room and (best is None or worker.outstanding < best.outstanding):
                best = worker
        return best

    def _owed(self) -> int:
        """Calls that are with workers, those that drain or are being killed included."""
        return sum(worker.owed for worker in self._supervisor.alive)

    def _wait(self, call: Call) -> None:
        refusal: NotSent | PluginBusy | None = self._supervisor.refusal()
        if refusal is None and not self._bulkhead.wait(call):
            refusal = PluginBusy(f"{self._bulkhead.queue} calls wait for {self.spec.plugin}, and no more may")
        if refusal is not None:
            call.reject(refusal)

    def cancel(self, call: Call) -> None:
        """Nobody waits for `call` any more: it is not sent, or its answer is dropped."""
        worker = self._holder(call)
        if worker is not None:
            worker.cancel(call)
        else:
            self._bulkhead.leave(call)
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
        calls = list(self._bulkhead.waiting)
        for worker in self._supervisor.alive:
            calls += worker.calls()
        return [call for call in calls if not call.expired]

    def _expire(self, call: Call) -> None:
        call.expired = True
        worker = self._holder(call)
        if worker is not None:
            worker.expire(call)
        else:
            self._bulkhead.leave(call)
            call.reject(DeadlineExceeded(f"no worker of {self.spec.plugin} was free in time", sent=False))

    def _holder(self, call: Call) -> Worker | None:
        if not call.worker:
            return None
        return next((worker for worker in self._supervisor.alive if worker.name == call.worker), None)

    # What workers and their supervisor tell.

    def freed(self, worker: Worker) -> None:
        """Hand waiting calls to `worker` while it has room."""
        if not self._bulkhead.waiting or worker not in self._routable:  # it may be told its configurations first
            return
        if self._bounded:
            self._hand_out()  # its place is the generation's: any worker may take the next call
            return
        while self._bulkhead.waiting and worker.has_room:
            call = self._bulkhead.next()
            if not worker.invoke(call):
                self._bulkhead.put_back(call)
                self._hand_out()

    def _hand_out(self) -> None:
        """Hand waiting calls to the least busy replicas while any may take one."""
        while self._bulkhead.waiting and (worker := self._least_busy()) is not None:
            call = self._bulkhead.next()
            if not worker.invoke(call):  # it is gone, and not among the replicas any more
                self._bulkhead.put_back(call)

    def unsent(self, calls: Sequence[Call]) -> None:
        """Hand `calls` to others: the worker that was to get them closed its stdin before."""
        for call in reversed(calls):
            call.worker, call.number, call.sent_at = "", 0, 0.0
            self._bulkhead.put_back(call)
        self._hand_out()
        refusal = self._supervisor.refusal()
        if refusal is not None:
            self.refused(refusal)

    def retired(self, worker: Worker) -> None:
        """Route around `worker` from now on."""
        self._supervisor.retired(worker)

    def ended(self, worker: Worker) -> None:
        """Give what `worker` held to others: places for calls."""
        self._hand_out()

    def refused(self, reason: NotSent) -> None:
        """Fail every waiting call with `reason`."""
        while self._bulkhead.waiting:
            self._bulkhead.next().reject(reason)

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

    def logged(self, worker: Worker, line: LogLine) -> None:
        """Pass on what a plugin logs."""
        if self._hear is not None:
            self._hear(worker.name, line)

    @property
    def ready(self) -> bool:
        """Whether any replica takes calls."""
        return any(worker.state is State.READY for worker in self._routable)
