"""One worker: the protocol spoken with one child process. It owns every call that it was given.

Whatever happens to the child, each call ends exactly once. Nothing here chooses among workers or starts
another one; that is the generation's part.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import msgspec

from isolation.call import Call, Outstanding, error_of
from isolation.errors import (
    CallError,
    DeadlineExceeded,
    ExitReport,
    LocalProtocolError,
    RemoteProtocolError,
    StartError,
    WorkerLost,
)
from isolation.handshake import Window, agree
from isolation.plugin_log import LogLine, Printed, pass_on
from isolation.process import ChildProcess, Spawn
from isolation.protocol import messages
from isolation.protocol.frames import FrameReader, FrameTooLarge
from isolation.protocol.ledger import Ledger, UnknownId
from isolation.protocol.life import Event, State, follow
from isolation.protocol.messages import Answer, Malformed, Notification, Request
from isolation.redaction import Redaction
from isolation.spec import WorkerSpec

__all__ = ["Worker", "WorkerEvents"]

STOP_WAIT_SECONDS = 1.0
"""How long each rung of the stop ladder is given."""

MAX_UNWRITTEN_BYTES = 1024 * 1024
"""A worker that has not read this much takes no further call: what is queued towards it is this and one frame."""

CHATTER_FRAMES = 256
CHATTER_PAUSE_SECONDS = 0.02
"""A plugin that sends more than this besides its answers in one read is left alone for so long: to take such a flood
apart holds the loop for milliseconds, and other plugins' calls with it."""

MAX_REFUSALS_UNWRITTEN_BYTES = 1024 * 1024
"""A plugin that asks and asks and does not read our refusals is ended when this much of them waits for it."""

READY = State.READY
"""By a name of its own: every call asks for it, and to look a member of an Enum up takes as long as several calls."""


class WorkerEvents(Protocol):
    """What a worker tells its generation."""

    def freed(self, worker: Worker) -> None:
        """A place in the window is free."""

    def unsent(self, calls: Sequence[Call]) -> None:
        """The worker took `calls` and could not write them; it owes them nothing and takes no more."""

    def retired(self, worker: Worker) -> None:
        """The worker takes no more calls: it drains or is gone. Told once."""

    def progressed(self, worker: Worker, params: bytes) -> None:
        """The plugin reports progress while it starts."""

    def logged(self, worker: Worker, line: LogLine) -> None:
        """The plugin logged or printed a line."""


class _Question(Outstanding):
    """A request of the host's own: initialize, configure, ping, shutdown."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.reply: asyncio.Future[bytes] = loop.create_future()

    def answered(self, result: msgspec.Raw) -> None:
        if not self.reply.done():
            self.reply.set_result(bytes(result))

    def failed(self, error: CallError) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)
            self.reply.exception()  # a stop that nobody waits for is no "exception was never retrieved"


class Worker:
    """A child process that speaks the protocol."""

    def __init__(self, spec: WorkerSpec, number: int, events: WorkerEvents, loop: asyncio.AbstractEventLoop) -> None:
        self.spec = spec
        self.name = f"{spec.plugin}#{number}"
        self.state = State.STARTING
        self._window = Window(1, sequential=True)
        self.planned_end = False
        self.gone: asyncio.Future[ExitReport] = loop.create_future()
        self._loop = loop
        self._events = events
        self._ledger = Ledger[Outstanding]()
        self._questions: list[int] = []
        self._frames = FrameReader(spec.max_frame_bytes)
        self._broken = False
        self._breach = ""
        self._ending = False
        self._refusals_unwritten = 0
        self._chatter = 0
        self._overrun = False
        self._retired = False
        self._startup: asyncio.Timeout | None = None
        self._ping: asyncio.TimerHandle | None = None
        self._redaction = Redaction()
        self._printed = Printed(spec.plugin, self.name, self._heard, self._redaction.text)
        self._process = ChildProcess(Spawn(spec.argv(), spec.environment, spec.root), self, loop)

    @property
    def pid(self) -> int:
        """The process id; only for people to look at."""
        return self._process.pid

    @property
    def outstanding(self) -> int:
        """What it still owes an answer: calls, abandoned ones included, and questions of the host's own."""
        return len(self._ledger)

    @property
    def owed(self) -> int:
        """Calls that it still owes an answer, abandoned ones included."""
        return len(self._ledger) - sum(map(self._ledger.holds, self._questions))

    @property
    def window(self) -> Window:
        """How many calls it takes at once; known once it is ready."""
        return self._window

    def calls(self) -> list[Call]:
        """The calls that it owes an answer, oldest first."""
        return [entry for entry in self._ledger if isinstance(entry, Call)]

    @property
    def has_room(self) -> bool:
        """Whether another call may be written now."""
        return (
            len(self._ledger) < self._window.calls
            and self.state is READY
            and self._process.unwritten < MAX_UNWRITTEN_BYTES
        )

    # Starting.

    async def start(self, configs: Mapping[str, object]) -> None:
        """Shake hands, warm up, configure. Raises StartError; the child is gone then."""
        phase = "before the handshake"
        self._redaction.learn(configs)
        try:
            async with asyncio.timeout(self.spec.startup_seconds) as self._startup:
                answer = await self._ask("initialize", self.spec.initialize())
                self._window = agree(answer, self.spec)
                self._advance(Event.HANDSHAKE)
                phase = "while it was warming up"
                await self._ask("configure", {"configs": configs})
                self._advance(Event.WARM)
        except (CallError, TimeoutError, StartError) as error:
            self._startup = None
            await self._abort(error, phase)
        except asyncio.CancelledError:
            self._process.kill("start was given up")
            await asyncio.shield(self.gone)
            raise
        finally:
            self._startup = None
        self._ping = self._loop.call_later(self.spec.ping_every_seconds, self._keep_alive)

    def _advance(self, event: Event) -> None:
        """Follow the table, unless the worker was told to stop meanwhile, or broke the protocol behind its answer."""
        if self._ending and not self._broken and not self.planned_end:
            raise WorkerLost(self.name, ExitReport())
        if self._retired:
            raise StartError(self._breach or "was stopped while it was starting")
        self.state = follow(self.state, event)

    async def _abort(self, error: Exception, phase: str) -> None:
        self._process.kill("could not be started")
        report = await asyncio.shield(self.gone)
        hint = StartError.hint
        if isinstance(error, StartError):
            text = str(error)
        elif isinstance(error, WorkerLost):
            text = f"exited {phase}: {report}"
        elif isinstance(error, TimeoutError):
            text = f"said nothing for {self.spec.startup_seconds:g} s {phase}"
            hint = "raise `startup` under [tool.penstock.limits], or report progress while starting"
        else:
            text = f"failed {phase}: {error}"
        if report.stderr and report.stderr not in text:
            text += f"\n{report.stderr}"
        failure = StartError(f"{self.spec.plugin}: {text}")
        failure.hint = hint
        raise failure from error

    async def configure(self, configs: Mapping[str, object]) -> None:
        """Hand over a new table of configurations; raises CallError when the plugin refuses one.

        A worker that does not answer in time is ended: nobody could say later which table it has. A sequential one
        first answers the calls before; its time begins when `configure` is what it is at.
        """
        self._redaction.learn(configs)
        question = self._question("configure", {"configs": configs})
        was_oldest = False
        while not question.reply.done():
            if was_oldest:
                self._end_unconfigured()
                raise DeadlineExceeded(f"`configure` was not answered within {self.spec.startup_seconds:g} s")
            was_oldest = not self._window.sequential or self._ledger.oldest() is question
            await asyncio.wait([question.reply], timeout=self.spec.startup_seconds)
        question.reply.result()

    def _end_unconfigured(self) -> None:
        if self._window.sequential:
            self.planned_end = True
            self.kill("did not answer `configure` in time")
        else:
            self._overran_beside_others()

    async def _ask(self, method: str, params: Mapping[str, object]) -> bytes:
        return await self._question(method, params).reply

    def _question(self, method: str, params: Mapping[str, object]) -> _Question:
        question = _Question(self._loop)
        if self.state is State.EXITED:
            question.reject(WorkerLost(self.name, self.gone.result(), sent=False))
            return question
        number = self._ledger.issue(question)
        self._questions = [*filter(self._ledger.holds, self._questions), number]
        try:
            frame = messages.request_frame(number, method, params)
            if len(frame) > self.spec.max_frame_bytes:
                raise ValueError(f"it would be {len(frame)} bytes long; the limit is {self.spec.max_frame_bytes}")
        except (TypeError, ValueError) as error:  # a configuration holds what JSON cannot, or too much
            self._ledger.settle(number)
            question.reject(LocalProtocolError(f"`{method}` cannot be written: {error}"))
        else:
            self._process.write(frame)  # a closed stdin ends the child, and its end fails the question
        return question

    # Calls.

    def invoke(self, call: Call) -> bool:
        """Write a call; False when the child can take none any more, and then the call was not touched."""
        number = self._ledger.issue(call)
        now = time.monotonic()
        left = call.deadline - now
        frame = messages.invoke_frame(number, call.invocation, max(1, int(left * 1000)))
        if len(frame) > self.spec.max_frame_bytes:
            self._ledger.settle(number)
            size = f"the call would be {len(frame)} bytes long; the limit is {self.spec.max_frame_bytes}"
            call.reject(LocalProtocolError(size))
            return True
        if not self._process.write(frame):
            self._ledger.settle(number)
            self._retire()
            return False
        call.number = number
        call.sent_at = now
        call.worker = self.name
        return True

    def cancel(self, call: Call) -> None:
        """Nobody waits for `call` any more. Its place in the window is held until it is answered."""
        call.settled = True
        self._abandon(call)

    def _abandon(self, call: Call) -> None:
        if not self._window.sequential and self._ledger.holds(call.number):
            self._process.write(messages.notification_frame("$/cancelRequest", {"id": call.number}))

    def expire(self, call: Call) -> None:
        """The deadline of `call` has passed: answer its caller, and see to it that the worker gets free."""
        if not self._ledger.holds(call.number):
            return
        if not call.settled:
            self._abandon(call)
            call.reject(DeadlineExceeded(f"no answer within {call.deadline - call.queued_at:.3g} s"))
        if not self._broken:
            self._await_overrun(call)

    def _await_overrun(self, call: Call) -> None:
        self._loop.call_later(self.spec.kill_after_seconds, self._overran, call, self._ledger.oldest() is call)

    def _overran(self, call: Call, was_oldest: bool) -> None:
        if self.state is State.EXITED or not self._ledger.holds(call.number):
            return
        if not self._window.sequential:
            self._overran_beside_others()
        elif was_oldest:
            self._end_overrun()
        else:
            # It waited behind another call; its own time begins when it is the oldest.
            self._await_overrun(call)

    def _overran_beside_others(self) -> None:
        self._overrun = self.planned_end = True
        self._retire()
        if not self._end_when_alone():
            self._send_ping(self.spec.kill_after_seconds)

    def _end_when_alone(self) -> bool:
        if any(not entry.settled and isinstance(entry, Call) for entry in self._ledger):
            return False
        self._end_overrun()
        return True

    def _end_overrun(self) -> None:
        self.planned_end = True
        self._retire()
        self._process.kill("a call overran its deadline")

    # What comes from the child.

    def received(self, data: bytes) -> None:
        """Take the child's bytes apart. Anything that breaks the protocol ends the child."""
        if self._broken:
            return
        try:
            try:
                frames = self._frames.feed(data)
            except FrameTooLarge as end:
                self._take_together(end.frames)
                raise Malformed(f"sent a frame of over {self.spec.max_frame_bytes} bytes") from end
            if len(frames) == 1:
                self._take(messages.parse(frames[0]))
            else:
                self._take_together(frames)
        except (Malformed, UnknownId) as error:
            self._break(str(error))

    def _take_together(self, frames: Sequence[bytes]) -> None:
        """Settle all answers, fill the window again with one write, and only then let the callers take what came.

        So the child is at its next calls while the host is at its callers; the other way round they take turns.
        """
        self._chatter = 0
        answers: list[tuple[Outstanding, Answer]] = []
        held_after = self._ledger.issued
        self._process.hold()
        try:
            for frame in frames:
                message = messages.parse(frame)
                if type(message) is Answer:
                    answers.append((self._ledger.settle(message.id), message))
                else:
                    self._take(message)
            self._events.freed(self)
        finally:
            if not self._process.release():
                self._events.unsent([one for one in self._ledger.take_back(held_after) if isinstance(one, Call)])
            for entry, answer in answers:
                self._hand_over(entry, answer)
        if self._chatter > CHATTER_FRAMES:
            self._process.pause(CHATTER_PAUSE_SECONDS)

    def _hand_over(self, entry: Outstanding, answer: Answer) -> None:
        if isinstance(answer.error, messages.Fault):
            entry.reject(error_of(self._redaction.fault(answer.error)))
        else:
            entry.resolve(answer.result)
        if self._overrun:
            self._end_when_alone()
        elif self._retired and not self._ending and not len(self._ledger):
            self._process.stop("drained", wait_seconds=STOP_WAIT_SECONDS)

    def _take(self, message: Answer | Notification | Request) -> None:
        if type(message) is Answer:
            entry = self._ledger.settle(message.id)
            self._events.freed(self)
            self._hand_over(entry, message)
        elif type(message) is Notification:
            self._chatter += 1
            self._notified(message)
        elif type(message) is Request:
            self._chatter += 1
            self._refuse(message)

    def _notified(self, message: Notification) -> None:
        if message.method == "log":
            params = self._redaction.parameters(message.params)
            pass_on(params, self._heard, plugin=self.spec.plugin, worker=self.name)
        elif message.method == "$/progress" and self._startup is not None and not self._startup.expired():
            self._startup.reschedule(self._loop.time() + self.spec.startup_seconds)
            self._events.progressed(self, self._redaction.parameters(message.params))

    def _refuse(self, request: Request) -> None:
        if not self._process.unwritten:
            self._refusals_unwritten = 0
        if self._refusals_unwritten > MAX_REFUSALS_UNWRITTEN_BYTES:
            raise Malformed("asks and does not read the answers")
        text = f"the host offers no {request.method[:80]!r}"
        frame = messages.error_frame(request.id, messages.METHOD_NOT_FOUND, text)
        self._refusals_unwritten += len(frame)
        self._process.write(frame)

    def _break(self, reason: str) -> None:
        self._broken = True
        self._breach = f"broke the protocol: {reason}"
        self._retire()
        self._process.kill(f"broke the protocol: {reason}")
        error = RemoteProtocolError(f"worker {self.name} broke the protocol: {reason}")
        for entry in self._ledger.close():
            entry.reject(error)

    def _heard(self, line: LogLine) -> None:
        self._events.logged(self, line)

    def printed(self, data: bytes) -> None:
        """What the child wrote to its stderr is its log, too."""
        self._printed.feed(data)

    def written(self) -> None:
        """The child has read what waited for it."""
        self._events.freed(self)

    def ending(self) -> None:
        """The child can be asked nothing more; what it owes may still come, or fails when it is gone."""
        self._ending = True
        self._retire()

    def exited(self, report: ExitReport) -> None:
        """The child is gone: every call that it owes fails now."""
        report = replace(report, stderr=self._redaction.text(report.stderr))
        self.state = follow(self.state, Event.EXIT)
        self._stop_pings()
        self._retire()
        for place, entry in enumerate(self._ledger.close()):
            # A sequential worker was at the oldest call; it never read the others.
            entry.reject(WorkerLost(self.name, report, sent=place == 0 or not self._window.sequential))
        if not self.gone.done():
            self.gone.set_result(report)

    # Liveness.

    def _keep_alive(self) -> None:
        self._ping = self._loop.call_later(self.spec.ping_every_seconds, self._keep_alive)
        if self._window.sequential:
            wanted = self.state is State.READY and not len(self._ledger)  # a ping never goes behind a call
        else:
            wanted = self.state is State.READY or self.owed > 0  # an event loop may hang while it drains, too
        if wanted:
            self._send_ping(self.spec.ping_within_seconds)

    def _stop_pings(self) -> None:
        if self._ping is not None:
            self._ping.cancel()

    def _send_ping(self, within_seconds: float) -> None:
        question = self._question("ping", {})
        self._loop.call_later(within_seconds, self._missed, question)

    def _missed(self, question: _Question) -> None:
        if not question.reply.done() and self.state is not State.EXITED:
            self.kill("missed a ping")

    # Ending.

    def _retire(self) -> None:
        if self._retired:
            return
        self._retired = True
        if self.state is not State.EXITED and self.state is not State.DRAINING:
            self.state = follow(self.state, Event.DRAIN)
        self._events.retired(self)

    def drain(self) -> None:
        """Take no more calls; end when the last one is answered."""
        self.planned_end = True
        self._retire()
        if not len(self._ledger):
            self._process.stop("drained", wait_seconds=STOP_WAIT_SECONDS)

    async def stop(self) -> ExitReport:
        """End the child: ask it, close its stdin, then SIGTERM, then SIGKILL. Bounded by twice STOP_WAIT_SECONDS."""
        if self.state is not State.EXITED:
            self.planned_end = True
            self._retire()
            self._stop_pings()  # the ladder ends it, whatever it answers
            self._question("shutdown", {})
            self._process.stop("was stopped", wait_seconds=STOP_WAIT_SECONDS)
        return await asyncio.shield(self.gone)

    def kill(self, reason: str) -> None:
        """End the child at once; it takes no more calls from now on."""
        self._retire()
        self._process.kill(reason)
