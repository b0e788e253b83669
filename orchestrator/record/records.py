"""A run as people and programs read it: the JSON of `penstock run --json`. Documented in docs/cli.md.

It is the summary that stays of a run, and beside it what does not stay: payload, outs, the whole of what was said.
"""

from __future__ import annotations

import msgspec

from orchestrator.engine.attempt import Attempt
from orchestrator.engine.hookcall import Reply
from orchestrator.engine.lasting import Lasting
from orchestrator.engine.traversal import Traversal
from orchestrator.faults import StageFault
from orchestrator.record.summary import Summary
from pipelines.answer import Violation

__all__ = ["record_of", "records_of"]

_Json = dict[str, object]


def records_of(reply: Reply) -> list[_Json]:
    """One object a run, in file order; the last has `hook_verdict`. Without a run, one with `pipeline` null."""
    if not reply.runs:
        return [_unmatched(reply)]
    records = [record_of(run) for run in reply.runs]
    records[-1]["hook_verdict"] = reply.verdict
    return records


def _unmatched(reply: Reply) -> _Json:
    return {
        "run_id": None,
        "pipeline": None,
        "hook": reply.hook,
        "verdict": reply.verdict,
        "status": None,
        "reason": "" if reply.violation is None else reply.violation.code,
        "durable": False,
        "began": None,
        "request_id": "",
        "trace": "",
        "revision": 0,
        "violation": _violation(reply.violation),
        "error": _fault(reply.fault),
        "duration_ms": 0.0,
        "stages": {},
        "finally": {},
        "payload": msgspec.json.decode(reply.payload),
        "hook_verdict": reply.verdict,
    }


def record_of(run: Traversal) -> _Json:
    """One run, whole."""
    record = Summary.of(run).record()
    record["violation"] = _violation(run.violation)
    record["error"] = _fault(run.fault)
    stages = record["stages"]
    assert isinstance(stages, dict)
    for wire, attempt in zip(run.route.wires, run.attempts, strict=True):
        stage = stages[wire.plan.id]
        stage["out"] = None
        if attempt is not None:
            _complete(stage, attempt)
    if isinstance(run, Lasting):
        record["reason"] = run.reason
        finals = {one.id: _fault(one.fault) for one in run.finally_.records}
        record["finally"] = {id: {**final, "error": finals[id]} for id, final in _objects(record, "finally").items()}
    record["payload"] = (run.seen if run.denied else run.payload).tree
    return record


def _complete(stage: _Json, attempt: Attempt) -> None:
    stage["out"] = attempt.out
    stage["violation"] = _violation(attempt.violation)
    stage["error"] = _fault(attempt.fault)
    if attempt.signed is not None:
        stage["signed"] = dict(attempt.signed)
    if attempt.undo is not None:
        undo = _objects(stage, "undo")
        sent = msgspec.json.decode(attempt.undo.input)
        stage["undo"] = {**undo, "error": _fault(attempt.undo.fault), "input": sent}


def _objects(record: _Json, name: str) -> dict[str, _Json]:
    found = record[name]
    assert isinstance(found, dict)
    return found


def _fault(fault: StageFault | None) -> _Json | None:
    return None if fault is None else fault.as_json()


def _violation(violation: Violation | None) -> object:
    return None if violation is None else msgspec.to_builtins(violation)
