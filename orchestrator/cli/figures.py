"""What many runs came to: verdicts and latencies per hook, pipeline and stage. Pure; holds no run, only counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.lookout.latency import Latency

__all__ = ["Latency", "PipelineFigures", "Reason", "StageFigures", "Tally"]


@dataclass(slots=True)
class StageFigures:
    """One stage over all runs: how it ended, errors continued past included, and how long it took when it ran."""

    states: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    latency: Latency = field(default_factory=Latency)

    @property
    def ran(self) -> int:
        """How often the plugin was asked."""
        return self.latency.total


@dataclass(slots=True)
class PipelineFigures:
    """One pipeline on one hook. `verdicts` counts allow, modify, deny and failed; a failed run counts only there."""

    runs: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    latency: Latency = field(default_factory=Latency)
    stages: dict[str, StageFigures] = field(default_factory=dict)


@dataclass(slots=True)
class Reason:
    """Why runs were denied or failed: a code, its first explanation and the first line that met it."""

    kind: str
    code: str
    text: str
    line: int
    count: int = 0


@dataclass(slots=True)
class Tally:
    """Figures of everything that ran, in the order in which hooks and pipelines first came up."""

    lines: int = 0
    malformed: int = 0
    denied_lines: int = 0
    pipelines: dict[tuple[str, str | None], PipelineFigures] = field(default_factory=dict)
    reasons: dict[tuple[str, str], Reason] = field(default_factory=dict)

    def add(self, line: int, records: Iterable[Mapping[str, object]]) -> None:
        """Count the records of one input line, which have the shape that `--json` prints."""
        self.lines += 1
        for record in records:
            self._add_run(line, record)
            if record.get("hook_verdict") == "deny":
                self.denied_lines += 1

    def _add_run(self, line: int, record: Mapping[str, object]) -> None:
        key = (str(record["hook"]), _text(record["pipeline"]))
        figures = self.pipelines.setdefault(key, PipelineFigures())
        figures.runs += 1
        verdict = str(record["verdict"])
        outcome = "failed" if verdict == "deny" and record.get("error") else verdict
        figures.verdicts[outcome] += 1
        if record["pipeline"] is not None:
            figures.latency.add(_milliseconds(record.get("duration_ms")))
        if outcome in ("deny", "failed"):
            self._add_reason(line, outcome, record)
        for name, stage in _mapping(record.get("stages")).items():
            _add_stage(figures.stages.setdefault(name, StageFigures()), _mapping(stage))

    def _add_reason(self, line: int, outcome: str, record: Mapping[str, object]) -> None:
        why = _mapping(record.get("error")) or _mapping(record.get("violation"))
        code = _text(why.get("code")) or "unknown"
        text = _text(why.get("message")) or _text(why.get("reason")) or ""
        self.reasons.setdefault((outcome, code), Reason(outcome, code, text, line)).count += 1


def _add_stage(figures: StageFigures, stage: Mapping[str, object]) -> None:
    figures.states[str(stage.get("state"))] += 1
    figures.errors += bool(stage.get("error"))
    if stage.get("attempts"):
        figures.latency.add(_milliseconds(stage.get("duration_ms")))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _milliseconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
