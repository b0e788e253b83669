"""A run as people and programs read it: the JSON of `penstock run --json`. Documented in docs/cli.md.

It is the summary that stays of a run, and beside it what does not stay: payload, outs, the whole of a violation.
"""

from __future__ import annotations

import msgspec

from orchestrator.hookcall import Reply
from orchestrator.summary import Summary
from orchestrator.traversal import Traversal
from pipelines.answer import Violation

__all__ = ["record_of", "records_of"]


def records_of(reply: Reply) -> list[dict[str, object]]:
    """One object a run, in file order; the last has `hook_verdict`. Without a run, one with `pipeline` null."""
    if not reply.runs:
        return [_unmatched(reply)]
    records = [record_of(run) for run in reply.runs]
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


def record_of(run: Traversal) -> dict[str, object]:
    """One run, whole."""
    record = Summary(run).record()
    record["payload"] = (run.seen if run.denied else run.payload).tree
    record["violation"] = _violation(run.violation)
    stages = record["stages"]
    assert isinstance(stages, dict)
    for wire, attempt in zip(run.route.wires, run.attempts, strict=True):
        stage = stages[wire.plan.id]
        stage["out"] = None if attempt is None else attempt.out
        if attempt is not None:
            stage["violation"] = _violation(attempt.violation)
            if attempt.undo is not None:
                stage["undo"]["input"] = msgspec.json.decode(attempt.undo.input)
    return record


def _violation(violation: Violation | None) -> object:
    return msgspec.to_builtins(violation) if violation is not None else None
