"""A run as people and programs read it afterwards: the JSON of `penstock run --json`. Documented in docs/cli.md."""

from __future__ import annotations

import msgspec

from orchestrator.attempt import Attempt
from orchestrator.engine import Reply
from orchestrator.traversal import Traversal
from pipelines.answer import Violation
from pipelines.plan import StageState

__all__ = ["records_of"]

_NEVER = {"violation": None, "error": None, "out": None}


def records_of(reply: Reply) -> list[dict[str, object]]:
    """One object a run, in file order; the last has `hook_verdict`. Without a run, one with `pipeline` null."""
    if not reply.runs:
        return [_unmatched(reply)]
    records = [_run(run, reply.hook) for run in reply.runs]
    records[-1]["hook_verdict"] = reply.verdict
    return records


def _unmatched(reply: Reply) -> dict[str, object]:
    return {
        "run_id": None,
        "pipeline": None,
        "hook": reply.hook,
        "verdict": reply.verdict,
        "payload": msgspec.json.decode(reply.payload),
        "violation": _violation(reply.violation),
        "error": reply.fault.as_json() if reply.fault else None,
        "duration_ms": 0.0,
        "stages": {},
        "hook_verdict": reply.verdict,
    }


def _run(run: Traversal, hook: str) -> dict[str, object]:
    return {
        "run_id": run.id,
        "pipeline": run.route.plan.name,
        "hook": hook,
        "verdict": run.verdict,
        "payload": (run.seen if run.denied else run.payload).tree,
        "violation": _violation(run.violation),
        "error": run.fault.as_json() if run.fault else None,
        "duration_ms": _ms(run.ended - run.started),
        "stages": {
            wire.plan.id: _stage(attempt) if attempt else _untouched()
            for wire, attempt in zip(run.route.wires, run.attempts, strict=True)
        },
    }


def _untouched() -> dict[str, object]:
    """A stage that was never taken up: the run had ended before its turn."""
    return {
        "state": StageState.CANCELLED.value,
        "why": "ended",
        "duration_ms": 0.0,
        "queued_ms": 0.0,
        "attempts": 0,
        "generation": None,
        "worker": None,
        **_NEVER,
    }


def _stage(attempt: Attempt) -> dict[str, object]:
    call = attempt.current or attempt
    sent = attempt.sent_at or attempt.ended
    return {
        "state": attempt.state.value,
        "why": attempt.why,
        "duration_ms": _ms(attempt.ended - attempt.started),
        "queued_ms": _ms(sent - attempt.queued_at) if attempt.tried else 0.0,
        "attempts": attempt.tried,
        "generation": attempt.wire.generation.spec.name if attempt.tried else None,
        "worker": call.worker or None,
        "violation": _violation(attempt.violation),
        "error": attempt.fault.as_json() if attempt.fault else None,
        "out": attempt.out,
    }


def _violation(violation: Violation | None) -> object:
    return msgspec.to_builtins(violation) if violation is not None else None


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 3)
