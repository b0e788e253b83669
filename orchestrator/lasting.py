"""A run that goes on after its verdict: it undoes what it did, awaits its confirmation, performs `finally`.

A durable one tells its journal of every event and performs what follows only when that is synced. The caller's answer
waits for the sync of the verdict and for nothing that comes later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from isolation.protocol.messages import Invocation
from orchestrator.aftercall import AfterCall
from orchestrator.attempt import Attempt, UndoRecord
from orchestrator.clock import Alarm, Clock
from orchestrator.faults import INTERNAL, StageFault
from orchestrator.inputs import encoded, inputs_or_null
from orchestrator.resilience.witness import Recording, Watching
from orchestrator.traversal import Traversal
from orchestrator.wiring import Route, Wire
from pipelines.answer import BadAnswer, read_answer
from pipelines.body import Body
from pipelines.expressions import ExpressionFailed
from pipelines.plan import StageState
from pipelines.run import (
    Answered,
    Close,
    Command,
    Compensate,
    Confirmed,
    Effect,
    Event,
    Finals,
    FinalsEnded,
    Halt,
    Invoke,
    Parked,
    Phase,
    Resume,
    Revoke,
    Settled,
    Undo,
    Undone,
    advance,
    outstanding,
)

__all__ = ["FinalRecord", "Lasting", "Recorder", "Synced", "Taken"]

log = logging.getLogger("penstock.run")


@dataclass(frozen=True, slots=True)
class Taken:
    """A run of the pipeline has the idempotency key already. `same` says whether it was called with the same data."""

    run: str
    same: bool


Synced = Callable[[StageFault | Taken | None], None]
"""Told once: None when the event is durable, else why it is not."""

LATE = StageFault("DeadlineExceeded", "penstock.timeout", "the run's deadline passed while its journal was written")

NEVER_SENT = "penstock.never_sent"


class Recorder(Protocol):
    """Where a durable run is written down."""

    def note(self, run: Lasting, event: Event, commands: tuple[Command, ...], synced: Synced) -> None:
        """Write down that `event` happened and what it caused; `synced` is called in the order of the notes."""


class FinalRecord:
    """What came of one stage of `finally`."""

    __slots__ = ("fault", "id", "state", "tried")

    def __init__(self, id: str, state: StageState, tried: int = 0, fault: StageFault | None = None) -> None:
        self.id = id
        self.state = state
        self.tried = tried
        self.fault = fault


class Lasting(Traversal):
    """`done` is called when the verdict is settled, and durable where the run is; `closed` when nothing is left to do.

    What it allowed is final with `confirm`, and undone with `revoke`; until then it waits, at most `confirm_seconds` of
    its pipeline from `delivered` on. `key` is the caller's own name for it.
    """

    delivered_at = 0.0
    answered_with: bool | None = None
    recorder: Recorder | None = None
    key: str | None = None
    over = False
    stranded: StageFault | None = None
    revoked_for = ""
    _undo_until = 0.0
    _finishing = 0
    _alarm: Alarm | None = None

    def __init__(
        self,
        id: str,
        route: Route,
        payload: Body,
        context: Body,
        deadline: float,
        *,
        clock: Clock,
        done: Callable[[Traversal], None],
        closed: Callable[[Lasting], None],
        yields: Callable[[Taken], None] = lambda taken: None,
        mocks: Mapping[str, bytes] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(id, route, payload, context, deadline, clock=clock, done=done, mocks=mocks)
        self.closed = closed
        self.yields = yields
        self.recorder = recorder
        self.began = clock.wall()
        self.undoing: dict[int, AfterCall] = {}
        self.finals: list[FinalRecord] = []
        self._hearers: list[Callable[[Lasting], None]] = []
        self._callers: list[Callable[[Traversal], None]] = []

    @property
    def waits_for_caller(self) -> bool:
        """Whether nothing goes on before somebody confirms or revokes it."""
        return self.machine.phase is Phase.CONFIRMING

    # What others ask of it.

    def start(self) -> None:
        """Begin. A journal that is too slow must not keep the caller beyond the deadline."""
        if self.recorder is not None:
            self._alarm = self.clock.later(self.deadline - self.clock.now(), self._late)
        super().start()

    def delivered(self) -> None:
        """The caller has the verdict. What needs no confirmation is final now."""
        if self.machine.phase is not Phase.CONFIRMING:
            return
        seconds = self.route.plan.confirm_seconds
        if seconds is None:
            self._tell(Confirmed())
        else:
            self.await_confirmation(seconds)

    def await_confirmation(self, seconds: float) -> None:
        """Undo what was allowed unless it is confirmed within so many seconds."""
        self.delivered_at = self.clock.now()
        self._set_alarm(seconds, partial(self.revoke, "its caller never confirmed it"))

    def confirm(self) -> bool:
        """The caller did what the verdict allowed; False when there is nothing (any more) to confirm."""
        if self.machine.phase is not Phase.CONFIRMING:
            return False
        self._tell(Confirmed())
        return True

    def revoke(self, why: str) -> bool:
        """Undo what the run did although it was allowed; False when it cannot be undone now."""
        if self.machine.phase not in (Phase.CONFIRMING, Phase.OVER) or self.denied:
            return False
        self.revoked_for = self.revoked_for or why
        self.over = False
        self._tell(Revoke())
        return True

    def resume(self) -> bool:
        """Try parked compensations again; False when none is parked."""
        if self.machine.phase is not Phase.OVER or not self.machine.parked:
            return False
        self.over = False
        self._tell(Resume())
        return True

    def park(self, why: str) -> bool:
        """Leave the compensations that are under way to a human; False when there is none."""
        if not self.undoing:
            return False
        for call in list(self.undoing.values()):
            call.give_up(StageFault("Parked", "penstock.parked", why, final=True))
        return True

    def join(self, done: Callable[[Traversal], None]) -> None:
        """Call `done` too when the verdict is settled, at once when it is: a caller came back with the run's key."""
        if self.answered_with is None:
            self._callers.append(done)
        else:
            done(self)

    def hear(self, closed: Callable[[Lasting], None]) -> None:
        """Call `closed` when the run is over, at once when it is."""
        if self.over:
            closed(self)
        else:
            self._hearers.append(closed)

    # Events in, commands out.

    def _tell(self, event: Event) -> None:
        self.inbox.append(event)
        if len(self.inbox) > 1:
            return
        try:
            while self.inbox:
                # What was cancelled with the verdict may have ended meanwhile.
                if not (self.machine.decided and isinstance(self.inbox[0], Settled | Halt)):
                    self._follow(self.inbox[0])
                del self.inbox[0]
        except Exception:  # noqa: BLE001  a bug of ours must end the run, not leave it waiting
            self._crash("run")

    def _follow(self, event: Event) -> None:
        self.machine, commands = advance(self.route.shape, self.machine, event)
        if self.recorder is None:
            self._carry_out(event, tuple(commands))
        else:
            self.recorder.note(self, event, tuple(commands), partial(self._synced, event, tuple(commands)))

    def _synced(self, event: Event, commands: tuple[Command, ...], outcome: StageFault | Taken | None) -> None:
        if isinstance(outcome, Taken):
            self._give_way(outcome)
        elif outcome is not None:
            self._strand(outcome)
        elif self.stranded is None:
            try:
                self._carry_out(event, commands)
            except Exception:  # noqa: BLE001  as in _tell
                self._crash("journal")

    def _carry_out(self, event: Event, commands: tuple[Command, ...]) -> None:
        if isinstance(event, Answered):
            self._deliver(event)
        for command in commands:
            self._perform(command)

    def _perform(self, command: Command) -> None:
        match command:
            case Invoke(stage):
                # While the event was synced, another one may have ended the run.
                if self.machine.stages[stage] is StageState.RUNNING:
                    super()._perform(command)
            case Compensate(stage):
                self._compensate(stage)
            case Finals():
                self._finish_up()
            case Close():
                self._close()
            case _:
                super()._perform(command)

    # The verdict.

    def _end(self) -> None:
        self.ended = self.clock.now()
        self._tell(Answered(self.denied, awaits=not self.denied))

    def _deliver(self, event: Answered) -> None:
        self._cancel_alarm()
        late = self.answered_with is True and not event.denied
        if self.answered_with is None:
            self._answer(event.denied)
        if late:
            self._tell(Revoke())

    def _deny_now(self, fault: StageFault) -> None:
        """Answer the caller whatever the journal does."""
        if self.answered_with is None:
            self.violation = None
            self.fault = fault
            self._deny_for(fault, None)
            self.denied = True  # a fallback that allows is for what the pipeline's stages did, not for this
            self._answer(True)

    def _answer(self, denied: bool) -> None:
        self.answered_with = denied
        super()._end()
        callers, self._callers = self._callers, []
        for done in callers:
            done(self)

    def _late(self) -> None:
        if self.answered_with is None:
            self._deny_now(LATE)
            self._tell(Halt())

    def _strand(self, fault: StageFault) -> None:
        """The journal takes nothing more: answer, stop, and leave the rest to the next start."""
        if self.stranded is None:
            self.stranded = fault
            self._abandon_all()
            self._deny_now(fault)
            self._close()

    def _crash(self, where: str) -> None:
        log.exception("run.crashed", extra={"run": self.id, "where": where})
        self.inbox.clear()
        if self.stranded is None:
            self.stranded = INTERNAL
            self._abandon_all()
            self._deny_now(INTERNAL)
            self._close()

    def _abandon_all(self) -> None:
        for stage in range(len(self.attempts)):
            try:
                self._abandon(stage)
            except Exception:
                log.exception("run.crashed", extra={"run": self.id, "where": "cancel"})

    def _give_way(self, taken: Taken) -> None:
        """Another run has the key: this one never was."""
        self._cancel_alarm()
        self.over = True
        self.answered_with = True
        self.yields(taken)

    # Compensation.

    def _compensate(self, stage: int) -> None:
        wire = self.route.wires[stage]
        attempt = self.attempts[stage]
        is_mocked = self.mocks is not None and wire.plan.id in self.mocks
        if attempt is None or is_mocked or _never_sent(attempt):
            self._tell(Undone(stage))
            return
        undo = wire.undo
        assert undo is not None
        now = self.clock.now()
        if not self.undoing and self._undo_until <= now:
            self._undo_until = now + self.route.plan.undo_seconds
        run = self.id.encode()
        payload = attempt.before or self._payload_of(attempt)
        inputs = inputs_or_null(undo.plan.inputs, partial(self._evaluate, attempt=attempt, payload=payload))
        invocation = Invocation(
            undo.envelope,
            run,
            run + undo.key,
            encoded(inputs),
            self._context_of(attempt).raw,
            payload.raw,
            undoes=run + wire.key,
        )
        attempt.undo = UndoRecord(
            undo.plan.plugin, undo.plan.stage, invocation.key.decode(), invocation.undoes.decode(), invocation.input
        )
        call = self.undoing[stage] = AfterCall(
            invocation,
            undo.generation,
            undo.retries,
            Recording(undo.breaker) if undo.breaker is not None else None,
            timeout=undo.plan.timeout_seconds,
            deadline=self._undo_until,
            clock=self.clock,
            judge=_why_no_undo,
            done=partial(self._undone, stage, attempt),
        )
        call.start()

    def _undone(self, stage: int, attempt: Attempt, call: AfterCall) -> None:
        self.undoing.pop(stage, None)
        record = attempt.undo
        assert record is not None
        record.tried, record.fault = call.tried, call.fault
        record.state = Undo.DONE if call.fault is None else Undo.PARKED
        self._tell(Undone(stage) if call.fault is None else Parked(stage))

    # `finally`.

    def _finish_up(self) -> None:
        self.finals = []
        roots = {"payload": self.payload.tree, "context": self.context.tree, "stages": self._stages()}
        roots["run"] = self.facts()
        self._finishing = len(self.route.finals)
        for wire in self.route.finals:
            self._final(wire, roots)

    def _final(self, wire: Wire, roots: Mapping[str, object]) -> None:
        plan = wire.plan
        try:
            if plan.when is not None and not plan.when.evaluate(roots):
                self._final_ended(FinalRecord(plan.id, StageState.SKIPPED))
                return
        except ExpressionFailed as error:
            fault = StageFault("ExpressionError", "penstock.expression", str(error))
            self._final_ended(FinalRecord(plan.id, StageState.SKIPPED, 0, fault))
            return
        run = self.id.encode()
        inputs = inputs_or_null(plan.inputs, lambda expression: expression.evaluate(roots))
        invocation = Invocation(
            wire.envelopes[-1], run, run + wire.key, encoded(inputs), self.context.raw, self.payload.raw
        )
        timeout = wire.standard.timeout_seconds
        call = AfterCall(
            invocation,
            wire.generation,
            wire.retries,
            Watching(wire.breaker) if wire.breaker is not None else None,
            timeout=timeout,
            deadline=self.clock.now() + max(timeout, self.route.plan.deadline_seconds),
            clock=self.clock,
            judge=partial(_why_no_answer, hook=self.route.plan.hook.answer),
            done=partial(self._final_called, plan.id),
        )
        call.start()

    def _final_called(self, id: str, call: AfterCall) -> None:
        state = StageState.SUCCEEDED if call.fault is None else StageState.FAILED
        self._final_ended(FinalRecord(id, state, call.tried, call.fault))

    def _final_ended(self, record: FinalRecord) -> None:
        self.finals.append(record)
        self._finishing -= 1
        if not self._finishing:
            self._tell(FinalsEnded())

    def facts(self) -> Mapping[str, object]:
        """The root `run` of the expressions of `finally`."""
        return {
            "id": self.id,
            "hook": self.route.plan.hook.name,
            "pipeline": self.route.plan.name,
            "verdict": self.verdict,
            "code": self.violation.code if self.violation is not None else "",
            "reason": self.violation.reason if self.violation is not None else "",
        }

    # The end.

    def _close(self) -> None:
        self._cancel_alarm()
        self.over = True
        hearers, self._hearers = self._hearers, []
        self.closed(self)
        for hear in hearers:
            hear(self)

    def take_up(self) -> None:
        """Perform what a run that was read back from its journal waits for."""
        for command in outstanding(self.route.shape, self.machine):
            self._perform(command)

    def _set_alarm(self, seconds: float, call: Callable[[], object]) -> None:
        self._cancel_alarm()
        self._alarm = self.clock.later(max(0.0, seconds), lambda: void(call))

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


def void(call: Callable[[], object]) -> None:
    """Call for what it does."""
    call()


def _never_sent(attempt: Attempt) -> bool:
    """Whether no try of the stage was ever written to a worker, so that nothing can have come of it."""
    return attempt.effect is Effect.NONE and not (attempt.current or attempt).number


def _why_no_undo(result: bytes) -> str | None:
    try:
        answer = read_answer(result, None)
    except BadAnswer as error:
        return str(error)
    if answer.changes_payload() or answer.state or answer.hints is not None:
        return "an undo changes nothing of the run: it answers nothing, or `out`"
    if answer.violation is not None:
        return f"it refused to undo: {answer.violation.code}: {answer.violation.reason}"
    return None


def _why_no_answer(result: bytes, hook: object) -> str | None:
    try:
        read_answer(result, hook)  # type: ignore[arg-type]
    except BadAnswer as error:
        return str(error)
    return None
