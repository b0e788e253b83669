"""What stays of a run when it is over: everything but payloads, outs and details. Taken quickly, read later.

What plugins say may quote what they saw, so of every message only the beginning of its first line stays.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.attempt import Attempt, UndoRecord
from orchestrator.faults import StageFault
from orchestrator.finals import FinalRecord
from orchestrator.lasting import Lasting
from orchestrator.traversal import Traversal
from pipelines.answer import Violation
from pipelines.plan import StageState

__all__ = ["SAID_CHARACTERS", "Summary", "brief"]

SAID_CHARACTERS = 200
"""Of what a plugin said: enough to know the trouble again, too little to be an archive of payloads."""

_Json = dict[str, object]


class Summary:
    """One run. `began` is in seconds since 1970; `status` is as in the journal, completed where there is none.

    `verdict` is None while there is none.
    """

    __slots__ = (
        "began", "durable", "error", "finals", "hook", "pipeline", "reason", "run_id", "seconds", "stages", "status",
        "troubled", "verdict", "violation",
    )  # fmt: skip

    status: str
    reason: str

    def __init__(self, run: Traversal) -> None:
        plan = run.route.plan
        started, ended = run.started, run.ended
        self.run_id = run.id
        self.pipeline = plan.name
        self.hook = plan.hook.name
        self.durable = plan.durable
        self.verdict = run.verdict if ended else None
        self.seconds = ended - started if ended else 0.0
        if not run.began:
            run.began = run.clock.wall() - run.clock.now() + started
        self.began = run.began
        self.violation = None if run.violation is None else _violation(run.violation)
        self.error = None if run.fault is None else _fault(run.fault)
        self.stages = [
            (wire.plan.id, None if attempt is None else _taken(attempt))
            for wire, attempt in zip(run.route.wires, run.attempts, strict=True)
        ]
        if isinstance(run, Lasting):
            self.status = run.status
            self.reason = brief(run.reason)
            self.finals = {one.id: _final(one) for one in run.finally_.records}
        else:
            self.status = "completed"
            self.reason = "" if run.violation is None else run.violation.code
            self.finals = {}
        self.troubled = run.denied or run.fault is not None or self.status != "completed"

    def record(self) -> _Json:
        """The JSON object of `penstock runs`."""
        return {
            "run_id": self.run_id,
            "pipeline": self.pipeline,
            "hook": self.hook,
            "verdict": self.verdict,
            "status": self.status,
            "reason": self.reason,
            "durable": self.durable,
            "began": round(self.began, 3),
            "violation": self.violation,
            "error": self.error,
            "duration_ms": _ms(self.seconds) if self.verdict is not None else None,
            "stages": {id: dict(_NEVER) if taken is None else _fields(taken) for id, taken in self.stages},
            "finally": self.finals,
        }


_Taken = tuple[
    StageState, str | None, float, float, int, str | None, str, str, _Json | None, _Json | None, _Json | None
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
    tried, wire, ended = attempt.tried, attempt.wire, attempt.ended
    violation, fault, undo = attempt.violation, attempt.fault, attempt.undo
    return (
        attempt.state,
        attempt.why,
        ended - attempt.started,
        (attempt.sent_at or ended) - attempt.queued_at if tried else 0.0,
        tried,
        wire.generation.spec.name if tried else None,
        call.worker,
        "none" if wire.undo is None else attempt.effect.value,
        None if undo is None else _undo(undo),
        None if violation is None else _violation(violation),
        None if fault is None else _fault(fault),
    )


def _fields(taken: _Taken) -> _Json:
    state, why, seconds, queued, tried, generation, worker, effect, undo, violation, fault = taken
    return {
        "state": state.value,
        "why": why,
        "duration_ms": _ms(seconds),
        "queued_ms": _ms(queued),
        "attempts": tried,
        "generation": generation,
        "worker": worker or None,
        "effect": effect,
        "undo": undo,
        "violation": violation,
        "error": fault,
    }


def _undo(undo: UndoRecord) -> _Json:
    return {
        "state": undo.state.value,
        "plugin": undo.plugin,
        "stage": undo.stage,
        "key": undo.key,
        "undoes": undo.undoes,
        "attempts": undo.tried,
        "error": None if undo.fault is None else _fault(undo.fault),
    }


def _violation(violation: Violation) -> _Json:
    return {"code": brief(violation.code), "reason": brief(violation.reason)}


def _fault(fault: StageFault) -> _Json:
    return {"class": fault.kind, "code": fault.code, "message": brief(fault.message)}


def _final(final: FinalRecord) -> _Json:
    return {
        "state": final.state.value,
        "attempts": final.tried,
        "error": None if final.fault is None else _fault(final.fault),
    }


def brief(text: str) -> str:
    """The beginning of a text's first line."""
    line = text.split("\n", 1)[0]
    return line if len(line) <= SAID_CHARACTERS else line[: SAID_CHARACTERS - 1] + "…"


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 3)
