"""A durable run read back from its journal: the same machine, told the same events, must want the same again.

Nothing is performed. What a stage answered is judged anew, so that what it changed and put out is there again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from orchestrator.clock import Clock
from orchestrator.contexts import request_id_of
from orchestrator.durable.entries import (
    AnsweredEntry,
    BeginEntry,
    FaultEntry,
    FinalsEntry,
    HaltEntry,
    RevokeEntry,
    SettledEntry,
    UndoEntry,
    commands_digest,
    unpack,
)
from orchestrator.engine.attempt import Attempt, strictest
from orchestrator.engine.finals import FinalRecord
from orchestrator.engine.lasting import Lasting, Recorder
from orchestrator.engine.traversal import Traversal
from orchestrator.engine.wiring import Route
from orchestrator.faults import StageFault
from orchestrator.journal.rows import EventRow, RunRow
from pipelines.answer import BadAnswer
from pipelines.body import Unacceptable, accept
from pipelines.merge import MergeConflict
from pipelines.plan import StageState
from pipelines.run import (
    BEGIN,
    MACHINE_VERSION,
    Answered,
    Confirmed,
    Effect,
    Event,
    FinalsEnded,
    Finish,
    Halt,
    IllegalEvent,
    Parked,
    Phase,
    Resume,
    Revoke,
    Settled,
    Undo,
    Undone,
    advance,
)

__all__ = ["ReplayDiffers", "replay", "request_of"]


class ReplayDiffers(Exception):
    """The journal cannot be followed: another machine, another plan, or a damaged event. The message says which."""


def _nobody_waits(run: Traversal) -> None:
    """Stand in for the caller, who is gone: what the run allows is there for whoever comes back with its key."""
    assert isinstance(run, Lasting)
    run.delivered()


def request_of(row: RunRow) -> dict[str, str]:
    """The request id and the trace with which a run was begun; "" where that cannot be read any more."""
    try:
        begin = unpack(BeginEntry, row.body)
        return {"request_id": request_id_of(accept(begin.context)), "trace": begin.trace}
    except (msgspec.DecodeError, Unacceptable):
        return {"request_id": "", "trace": ""}


def replay(
    row: RunRow,
    events: Sequence[EventRow],
    route: Route,
    clock: Clock,
    recorder: Recorder | None,
    closed: Callable[[Lasting], None],
) -> Lasting:
    """Bring a run to where its journal ends. Raises ReplayDiffers."""
    if row.machine != MACHINE_VERSION:
        raise ReplayDiffers(f"it was begun by run machine {row.machine}, and this is {MACHINE_VERSION}")
    try:
        return _Replay(row, route, clock, recorder, closed).follow(events)
    except (
        msgspec.DecodeError,
        Unacceptable,
        IllegalEvent,
        BadAnswer,
        MergeConflict,
        LookupError,
        ValueError,
    ) as error:
        raise ReplayDiffers(f"its events do not fit: {type(error).__name__}: {error}") from error


class _Replay:
    def __init__(
        self, row: RunRow, route: Route, clock: Clock, recorder: Recorder | None, closed: Callable[[Lasting], None]
    ) -> None:
        begin = unpack(BeginEntry, row.body)
        now = clock.now()
        payload, context = accept(begin.payload), accept(begin.context)
        self.budget = begin.deadline_ms / 1000
        self.run = Lasting(
            row.id,
            route,
            payload,
            context,
            now,
            now + self.budget,
            clock=clock,
            done=_nobody_waits,
            closed=closed,
            recorder=recorder,
        )
        self.run.began = row.started_at
        self.run.trace = begin.trace
        self.spent = 0.0

    def follow(self, events: Sequence[EventRow]) -> Lasting:
        run = self.run
        for row in events:
            event = self._event(row)
            run.machine, commands = advance(run.route.shape, run.machine, event)
            if commands_digest(tuple(commands)) != row.commands:
                raise ReplayDiffers(f"event {row.seq} ({row.kind}) led somewhere else when it happened")
            for command in commands:
                if isinstance(command, Finish):
                    run.reckon(command)
            run.seq = row.seq + 1
        self._settle_down()
        if run.answered_with is not None:
            run.tallied = run.undo_states  # by the host that reached the verdict
        return run

    def _settle_down(self) -> None:
        """The clock of the run stood still while its host was down."""
        run = self.run
        run.started = run.clock.now() - self.spent
        run.deadline = run.started + self.budget
        run.ended = run.started + self.spent if run.machine.decided else 0.0
        run.over = run.machine.phase is Phase.OVER
        for stage, state in enumerate(run.machine.stages):
            attempt = run.attempts[stage]
            if attempt is None and (state is StageState.RUNNING or state is StageState.CANCELLED):
                self._lost(stage, state)
        if run.over:
            run.compensations.note_those_that_wait()

    def _lost(self, stage: int, state: StageState) -> None:
        """A stage that was taken up and never heard of: whatever it did, nobody knows."""
        effects = self.run.machine.effects
        if state is StageState.CANCELLED and not (effects and effects[stage] is Effect.UNKNOWN):
            return
        attempt = self.run.attempts[stage] = Attempt(self.run, self.run.route.wires[stage], self.run.started)
        attempt.variant = strictest(attempt.wire.plan.variants)  # which of them applied was not written down
        attempt.state = state
        try:
            attempt.before = self.run.payload_of(attempt)
            self.run.context_of(attempt)
        except MergeConflict:
            return  # so it was never called
        attempt.effect = Effect.UNKNOWN

    def _event(self, row: EventRow) -> Event:
        match row.kind:
            case "begin":
                return BEGIN
            case "settled":
                return self._settled(row.body)
            case "halt":
                return self._halted(row.body)
            case "answered":
                return self._answered(row.body)
            case "confirmed":
                return Confirmed()
            case "revoke":
                entry = unpack(RevokeEntry, row.body)
                self.run.revoked_for = entry.why
                return Revoke()
            case "undone" | "parked":
                return self._undo(row)
            case "resume":
                return Resume()
            case "finals_ended":
                return self._finals(row.body)
        raise ReplayDiffers(f"event {row.seq} is a {row.kind!r}, which this penstock does not know")

    def _settled(self, body: bytes) -> Event:
        entry = unpack(SettledEntry, body)
        run = self.run
        self.spent = entry.spent_ms / 1000
        wire = run.route.wires[entry.stage]
        attempt = Attempt(run, wire, run.started)
        attempt.variant = wire.plan.variants[entry.variant]
        attempt.tried = entry.tried
        attempt.worker = entry.worker
        attempt.effect = Effect(entry.effect)
        attempt.number = int(entry.tried > 0)
        self._judge(attempt, entry)
        run.attempts[entry.stage] = attempt
        attempt.ended = attempt.started
        if attempt.state.value != entry.state:
            raise ReplayDiffers(f"stage {wire.plan.id} was {entry.state}, and is judged {attempt.state.value} now")
        return Settled(entry.stage, attempt.state, attempt.effect)

    def _judge(self, attempt: Attempt, entry: SettledEntry) -> None:
        run = self.run
        if entry.answer is not None:
            attempt.before = run.payload_of(attempt)
            run.context_of(attempt)
            run.judge(attempt, entry.answer)
        elif entry.fault is not None:
            run.blame(attempt, entry.fault.fault)
            if entry.tried:
                attempt.before = run.payload_of(attempt)
            if entry.why == "need":
                attempt.state = StageState(entry.state)
        else:
            run.skip(attempt, entry.why or "")
        attempt.why = entry.why

    def _halted(self, body: bytes) -> Event:
        entry = unpack(HaltEntry, body)
        self.run.fault = _fault(entry.fault)
        return Halt()

    def _answered(self, body: bytes) -> Event:
        entry = unpack(AnsweredEntry, body)
        run = self.run
        self.spent = entry.spent_ms / 1000
        if run.denied and not entry.denied:
            raise ReplayDiffers("it was allowed, and would be denied now")
        if entry.denied and not run.denied:
            run.deny_for(_fault(entry.fault))
        run.answered_with = entry.denied
        return Answered(entry.denied, entry.awaits)

    def _undo(self, row: EventRow) -> Event:
        entry = unpack(UndoEntry, row.body)
        attempt = self.run.attempts[entry.stage]
        if attempt is None:
            self._lost(entry.stage, self.run.machine.stages[entry.stage])
            attempt = self.run.attempts[entry.stage]
        if attempt is not None and entry.input is not None:
            record = attempt.undo = self.run.compensations.record(attempt)
            record.input = entry.input
            record.tried = entry.tried
            record.state = Undo.DONE if row.kind == "undone" else Undo.PARKED
            record.fault = _fault(entry.fault)
        return Undone(entry.stage) if row.kind == "undone" else Parked(entry.stage)

    def _finals(self, body: bytes) -> Event:
        entry = unpack(FinalsEntry, body)
        self.run.finally_.records = [
            FinalRecord(one.id, StageState(one.state), one.tried, _fault(one.fault)) for one in entry.finals
        ]
        return FinalsEnded()


def _fault(entry: FaultEntry | None) -> StageFault | None:
    return None if entry is None else entry.fault
