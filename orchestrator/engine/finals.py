"""`finally` of one run: its stages, side by side, after the answer and after every undo. They change nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from isolation.protocol.messages import Invocation
from orchestrator.engine.aftercall import AfterCall
from orchestrator.engine.inputs import encoded, inputs_or_null
from orchestrator.engine.wiring import Wire
from orchestrator.faults import StageFault
from orchestrator.resilience.witness import Watching
from pipelines.answer import BadAnswer, read_answer
from pipelines.expressions import ExpressionFailed
from pipelines.fields import Field
from pipelines.plan import StageState
from pipelines.run import FinalsEnded

if TYPE_CHECKING:
    from orchestrator.engine.lasting import Lasting

__all__ = ["FinalRecord", "Finally"]


@dataclass(frozen=True, slots=True)
class FinalRecord:
    """What came of one stage of `finally`."""

    id: str
    state: StageState
    tried: int = 0
    fault: StageFault | None = None


class Finally:
    """Tells its run `FinalsEnded` when all have ended."""

    def __init__(self, run: Lasting) -> None:
        self._run = run
        self._left = 0
        self.records: list[FinalRecord] = []

    def start(self) -> None:
        """Perform them."""
        run = self._run
        self.records = []
        self._left = len(run.route.finals)
        roots = {"payload": run.payload.tree, "context": run.context.tree, "stages": run.stages_seen()}
        roots["run"] = _facts(run)
        for wire in run.route.finals:
            self._start(wire, roots)

    def _start(self, wire: Wire, roots: Mapping[str, object]) -> None:
        plan = wire.plan
        try:
            if plan.when is not None and not plan.when.evaluate(roots):
                self._ended(wire, FinalRecord(plan.id, StageState.SKIPPED))
                return
            inputs = encoded(inputs_or_null(plan.inputs, lambda expression: expression.evaluate(roots)))
        except ExpressionFailed as error:
            fault = StageFault("ExpressionError", "penstock.expression", str(error), sent=False)
            self._ended(wire, FinalRecord(plan.id, StageState.SKIPPED, 0, fault))
            return
        run = self._run
        if run.mocks is not None and plan.id in run.mocks:
            said = _why_no_answer(run.mocks[plan.id], run.route.plan.hook.answer)
            self._ended(wire, FinalRecord(plan.id, StageState.SUCCEEDED if said is None else StageState.FAILED))
            return
        id = run.id.encode()
        timeout = wire.standard.timeout_seconds
        AfterCall(
            Invocation(
                wire.envelopes[-1],
                id,
                id + wire.key,
                inputs,
                run.context.raw,
                run.payload.raw,
                trace=run.encoded_trace,
            ),
            wire.generation,
            wire.retries,
            Watching(wire.breaker) if wire.breaker is not None else None,
            timeout=timeout,
            deadline=run.clock.now() + max(timeout, run.route.plan.deadline_seconds),
            clock=run.clock,
            judge=partial(_why_no_answer, fields=run.route.plan.hook.answer),
            done=partial(self._called, wire),
        ).start()

    def _called(self, wire: Wire, call: AfterCall) -> None:
        state = StageState.SUCCEEDED if call.fault is None else StageState.FAILED
        self._ended(wire, FinalRecord(wire.plan.id, state, call.tried, call.fault), call)

    def _ended(self, wire: Wire, record: FinalRecord, call: AfterCall | None = None) -> None:
        self.records.append(record)
        if self._run.onlooker is not None:
            self._run.onlooker.saw_final(self._run, wire, record, call)
        self._left -= 1
        if not self._left:
            self._run.tell(FinalsEnded())


def _facts(run: Lasting) -> Mapping[str, object]:
    """The root `run` of the expressions of `finally`."""
    violation = run.violation
    return {
        "id": run.id,
        "hook": run.route.plan.hook.name,
        "pipeline": run.route.plan.name,
        "verdict": run.verdict,
        "code": violation.code if violation is not None else "",
        "reason": violation.reason if violation is not None else "",
    }


def _why_no_answer(result: bytes, fields: tuple[Field, ...] | None) -> str | None:
    try:
        read_answer(result, fields)
    except BadAnswer as error:
        return str(error)
    return None
