"""Runs the tests of a pipeline file: each a call through the real engine, judged by its expectations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.orchestrator import Orchestrator
from pipelines.expressions import Expression, ExpressionFailed
from pipelines.file.tree import Table, find
from pipelines.plan import Case
from pipelines.problem import Mark

__all__ = ["CaseReport", "Failure", "run_case"]

SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """An expectation that did not hold. `values` are what it looked at, as JSON text."""

    place: Mark
    expectation: str
    said: str
    values: Mapping[str, str]

    def record(self) -> dict[str, object]:
        """As `penstock test --json` shows it."""
        return {
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "expect": self.expectation,
            "message": self.said,
            "values": dict(self.values),
        }


@dataclass(frozen=True, slots=True)
class CaseReport:
    """What one test came to. `cause` is why its run was denied, where it was."""

    case: Case
    verdict: str
    duration_ms: float
    cause: str
    failures: tuple[Failure, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every expectation held."""
        return not self.failures

    def record(self) -> dict[str, object]:
        """The JSON object of `penstock test --json`."""
        return {
            "name": self.case.name,
            "pipeline": self.case.pipeline,
            "hook": self.case.hook,
            "passed": self.passed,
            "verdict": self.verdict,
            "duration_ms": self.duration_ms,
            "failures": [failure.record() for failure in self.failures],
        }


async def run_case(orchestrator: Orchestrator, case: Case, index: int) -> CaseReport:
    """Run test number `index` of the file."""
    result = await orchestrator.invoke(case.hook, case.payload, case.context, pipeline=case.pipeline, mocks=case.mock)
    record = result.records[-1]
    roots = _roots(record)
    failures = [
        Failure(
            _place(orchestrator.loaded.tree, case, index, number), expression.text, said, _values(expression, roots)
        )
        for number, expression in enumerate(case.expect)
        if (said := _judged(expression, roots))
    ]
    duration = record["duration_ms"]
    assert isinstance(duration, float)
    return CaseReport(case, str(record["verdict"]), duration, _cause(record), tuple(failures))


def _judged(expression: Expression, roots: Mapping[str, object]) -> str:
    """Why an expectation does not hold; empty when it does."""
    try:
        return "" if expression.evaluate(roots) is True else "is false"
    except ExpressionFailed as error:
        return str(error).removeprefix(f"{expression.text}: ")


def _roots(record: Mapping[str, object]) -> dict[str, object]:
    """The names of an expectation. What is null in the record is absent here, so that has() tells."""
    run = {key: record[key] for key in ("verdict", "hook", "payload", "violation") if record[key] is not None}
    stages = record["stages"]
    assert isinstance(stages, Mapping)
    return {"run": run, "stages": {name: _present(stage) for name, stage in stages.items()}}


def _present(stage: Mapping[str, object]) -> dict[str, object]:
    return {key: stage[key] for key in ("state", "out", "violation") if stage[key] is not None}


def _values(expression: Expression, roots: Mapping[str, object]) -> dict[str, str]:
    return {".".join(path): _shown(path, roots) for path in sorted(expression.references)}


def _shown(path: tuple[str, ...], roots: Mapping[str, object]) -> str:
    value: object = roots
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return "absent"
        value = value[name]
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}... ({len(text)} characters)"


def _place(tree: Table, case: Case, index: int, number: int) -> Mark:
    found = find(tree, ("tests", index, "expect", number))
    return found.value.mark if found.whole else case.mark or tree.mark


def _cause(record: Mapping[str, object]) -> str:
    if record["pipeline"] is None:
        return "the pipeline's `match` does not hold for this call"
    violation, error = record["violation"], record["error"]
    if isinstance(error, Mapping):
        return f"the run failed: {error['message']} [{error['code']}]"
    return f"denied: {violation['reason']} [{violation['code']}]" if isinstance(violation, Mapping) else ""
