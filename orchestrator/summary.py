"""What stays of a run when it is over: everything but payloads, outs and details. Taken quickly, read later."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.attempt import Attempt, UndoRecord
from orchestrator.faults import StageFault
from orchestrator.finals import FinalRecord
from orchestrator.lasting import Lasting
from orchestrator.traversal import Traversal
from pipelines.answer import Violation
from pipelines.plan import StageState

__all__ = ["Summary"]


class Summary:
    """One run. `began` is in seconds since 1970; `status` is as in the journal, completed where there is none."""

    __slots__ = (
        "began", "denied", "durable", "error", "finals", "hook", "pipeline", "run_id", "seconds", "stages", "status",
        "verdict", "violation",
    )  # fmt: skip

    def __init__(self, run: Traversal) -> None:
        plan = run.route.plan
        self.run_id = run.id
        self.pipeline = plan.name
        self.hook = plan.hook.name
        self.verdict = run.verdict
        self.began = run.clock.wall() - (run.clock.now() - run.started)
        self.seconds = run.ended - run.started
        self.violation = run.violation
        self.error = run.fault
        self.stages = [
            (wire.plan.id, None if attempt is None else _taken(attempt))
            for wire, attempt in zip(run.route.wires, run.attempts, strict=True)
        ]
        self.durable = plan.durable
        self.denied = run.denied
        self.status = "completed"
        self.finals: list[FinalRecord] = []
        if isinstance(run, Lasting):
            self.began = run.began
            self.status = run.status
            self.finals = run.finally_.records

    def record(self) -> dict[str, object]:
        """The JSON object of `penstock runs`."""
        return {
            "run_id": self.run_id,
            "pipeline": self.pipeline,
            "hook": self.hook,
            "verdict": self.verdict,
            "status": self.status,
            "durable": self.durable,
            "began": round(self.began, 3),
            "violation": _violation(self.violation),
            "error": self.error.as_json() if self.error else None,
            "duration_ms": _ms(self.seconds),
            "stages": {id: dict(_NEVER) if taken is None else _fields(taken) for id, taken in self.stages},
            "finally": {one.id: _final(one) for one in self.finals},
        }


_Taken = tuple[
    StageState,
    str | None,
    float,
    float,
    int,
    str | None,
    str | None,
    str,
    UndoRecord | None,
    Violation | None,
    StageFault | None,
]

_NEVER: Mapping[str, object] = {
    "state": StageState.CANCELLED.value,
    "why": "ended",
    "duration_ms": 0.0,
    "queued_ms": 0.0,
    "attempts": 0,
    "generation": None,
    "worker": None,
    "effect": "none",
    "undo": None,
    "violation": None,
    "error": None,
}
"""A stage that was never taken up: the run had ended before its turn."""


def _taken(attempt: Attempt) -> _Taken:
    call = attempt.current or attempt
    tried = attempt.tried
    return (
        attempt.state,
        attempt.why,
        attempt.ended - attempt.started,
        (attempt.sent_at or attempt.ended) - attempt.queued_at if tried else 0.0,
        tried,
        attempt.wire.generation.spec.name if tried else None,
        call.worker or None,
        "none" if attempt.wire.undo is None else attempt.effect.value,
        attempt.undo,
        attempt.violation,
        attempt.fault,
    )


def _fields(taken: _Taken) -> dict[str, object]:
    state, why, seconds, queued, tried, generation, worker, effect, undo, violation, fault = taken
    return {
        "state": state.value,
        "why": why,
        "duration_ms": _ms(seconds),
        "queued_ms": _ms(queued),
        "attempts": tried,
        "generation": generation,
        "worker": worker,
        "effect": effect,
        "undo": None if undo is None else _undo(undo),
        "violation": _violation(violation),
        "error": fault.as_json() if fault else None,
    }


def _undo(undo: UndoRecord) -> dict[str, object]:
    return {
        "state": undo.state.value,
        "plugin": undo.plugin,
        "stage": undo.stage,
        "key": undo.key,
        "undoes": undo.undoes,
        "attempts": undo.tried,
        "error": undo.fault.as_json() if undo.fault else None,
    }


def _violation(violation: Violation | None) -> dict[str, object] | None:
    return None if violation is None else {"code": violation.code, "reason": violation.reason}


def _final(final: FinalRecord) -> dict[str, object]:
    return {
        "state": final.state.value,
        "attempts": final.tried,
        "error": final.fault.as_json() if final.fault else None,
    }


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 3)
