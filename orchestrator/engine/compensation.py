"""The compensations of one run: what each is sent, and what came of it. Which one is due, the run machine says."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from isolation.protocol.messages import Invocation
from orchestrator.engine.aftercall import AfterCall
from orchestrator.engine.attempt import Attempt, UndoRecord
from orchestrator.engine.inputs import encoded, inputs_or_null
from orchestrator.faults import StageFault
from orchestrator.resilience.witness import Recording
from pipelines.answer import BadAnswer, read_undo
from pipelines.run import Effect, Parked, Undo, Undone

if TYPE_CHECKING:
    from orchestrator.engine.lasting import Lasting

__all__ = ["Compensations"]


class Compensations:
    """Tells its run `Undone` or `Parked`, once for each `start`. All of them together have `undo_seconds`."""

    def __init__(self, run: Lasting) -> None:
        self._run = run
        self._under_way: dict[int, AfterCall] = {}
        self._until = 0.0

    @property
    def under_way(self) -> bool:
        """Whether an undo is being tried."""
        return bool(self._under_way)

    def allow_time(self) -> None:
        """Give what is to be undone from now on the whole time again."""
        self._until = 0.0

    def start(self, stage: int) -> None:
        """Undo a stage."""
        run = self._run
        attempt = run.attempts[stage]
        if attempt is None or run.is_mocked(stage) or _never_sent(attempt):
            if attempt is not None:
                attempt.undo = None  # it may have been noted as one that waits
            run.tell(Undone(stage))
            return
        wire = run.route.wires[stage].undo
        assert wire is not None
        if not self._until:
            self._until = run.clock.now() + run.route.plan.undo_seconds
        invocation = self._invocation(attempt)
        attempt.undo = self.record(attempt, invocation)
        call = self._under_way[stage] = AfterCall(
            invocation,
            wire.generation,
            wire.retries,
            Recording(wire.breaker) if wire.breaker is not None else None,
            timeout=wire.plan.timeout_seconds,
            deadline=self._until,
            clock=run.clock,
            judge=_why_no_undo,
            done=partial(self._ended, stage, attempt.undo),
        )
        call.start()

    def _invocation(self, attempt: Attempt) -> Invocation:
        """The payload and context are those that the stage itself saw."""
        run, wire = self._run, attempt.wire
        assert wire.undo is not None
        id = run.id.encode()
        payload = attempt.before or run.payload_of(attempt)
        inputs = inputs_or_null(wire.undo.plan.inputs, partial(run.evaluate, attempt=attempt, payload=payload))
        context = run.context_of(attempt)
        return Invocation(
            wire.undo.envelope,
            id,
            id + wire.undo.key,
            encoded(inputs),
            context.raw,
            payload.raw,
            trace=run.encoded_trace,
            undoes=id + wire.key,
        )

    def record(self, attempt: Attempt, invocation: Invocation | None = None) -> UndoRecord:
        """What an undo of the stage is sent."""
        sent = invocation or self._invocation(attempt)
        wire = attempt.wire.undo
        assert wire is not None
        return UndoRecord(wire.plan.plugin, wire.plan.stage, sent.key.decode(), sent.undoes.decode(), sent.input)

    def _ended(self, stage: int, record: UndoRecord, call: AfterCall) -> None:
        self._under_way.pop(stage, None)
        record.tried, record.fault = call.tried, call.fault
        record.state = Undo.DONE if call.fault is None else Undo.PARKED
        self._run.tell(Undone(stage) if call.fault is None else Parked(stage))

    @property
    def stuck(self) -> list[int]:
        """The stages whose undo was commanded and is not being tried, after a bug of ours."""
        undos = self._run.machine.undos
        return [stage for stage, undo in enumerate(undos) if undo is Undo.RUNNING and stage not in self._under_way]

    def give_up(self, fault: StageFault) -> None:
        """Park what is under way."""
        for call in list(self._under_way.values()):
            call.give_up(fault)

    def note_those_that_wait(self) -> None:
        """Describe those that were parked untried, because one that comes before them was."""
        for attempt, undo in zip(self._run.attempts, self._run.machine.undos, strict=False):
            if undo is Undo.PARKED and attempt is not None and attempt.undo is None:
                attempt.undo = self.record(attempt)
                attempt.undo.state = Undo.PARKED
                text = "it waits for the undo of a stage that came later, and that is parked"
                attempt.undo.fault = StageFault("Parked", "penstock.parked", text, sent=False)


def _never_sent(attempt: Attempt) -> bool:
    """Whether no try of the stage was ever written to a worker, so that nothing can have come of it."""
    return attempt.effect is Effect.NONE and not (attempt.current or attempt).number


def _why_no_undo(result: bytes) -> str | None:
    try:
        read_undo(result)
    except BadAnswer as error:
        return str(error)
    return None
