"""Counting runs: verdicts, stages and latencies."""

from __future__ import annotations

import pytest

from orchestrator.cli.figures import Latency, Tally


def record(verdict: str = "allow", **more: object) -> dict[str, object]:
    return {
        "hook": "tool_pre_invoke",
        "pipeline": "guard",
        "verdict": verdict,
        "duration_ms": 1.0,
        "stages": {},
        **more,
    }


def stage(state: str, attempts: int = 1, error: object = None) -> dict[str, object]:
    return {"state": state, "attempts": attempts, "duration_ms": 2.0, "error": error}


def test_quantiles_are_right_to_one_percent() -> None:
    latency = Latency()
    for value in range(1, 1001):
        latency.add(value / 10)
    assert latency.quantile(0.5) == pytest.approx(50, rel=0.01)
    assert latency.quantile(0.99) == pytest.approx(99, rel=0.01)


def test_the_latency_of_nothing_is_unknown() -> None:
    assert Latency().quantile(0.5) is None


def test_a_failed_run_counts_as_failed_and_not_as_denied_too() -> None:
    tally = Tally()
    tally.add(1, [record("deny", error={"code": "penstock.timeout", "message": "late"})])
    tally.add(2, [record("deny", violation={"code": "words.found", "reason": "no"})])
    figures = tally.pipelines[("tool_pre_invoke", "guard")]
    assert dict(figures.verdicts) == {"failed": 1, "deny": 1}


def test_an_error_that_a_fallback_allowed_is_an_allow() -> None:
    tally = Tally()
    tally.add(1, [record("allow", error={"code": "penstock.timeout", "message": "late"})])
    assert dict(tally.pipelines[("tool_pre_invoke", "guard")].verdicts) == {"allow": 1}


def test_reasons_keep_the_first_line_that_met_them() -> None:
    tally = Tally()
    for line in (3, 9):
        tally.add(line, [record("deny", violation={"code": "words.found", "reason": "no"})])
    (reason,) = tally.reasons.values()
    assert (reason.code, reason.text, reason.line, reason.count) == ("words.found", "no", 3, 2)


def test_only_stages_that_ran_have_a_latency() -> None:
    tally = Tally()
    tally.add(1, [record(stages={"pii": stage("succeeded"), "scan": stage("skipped", attempts=0)})])
    stages = tally.pipelines[("tool_pre_invoke", "guard")].stages
    assert (stages["pii"].ran, stages["scan"].ran) == (1, 0)


def test_an_error_that_was_continued_past_still_shows_at_its_stage() -> None:
    tally = Tally()
    tally.add(1, [record(stages={"pii": stage("skipped", error={"code": "penstock.timeout"})})])
    assert tally.pipelines[("tool_pre_invoke", "guard")].stages["pii"].errors == 1


def test_a_line_is_denied_when_its_hook_is() -> None:
    tally = Tally()
    tally.add(1, [record("allow"), record("deny", hook_verdict="deny")])
    tally.add(2, [record("allow", hook_verdict="allow")])
    assert (tally.lines, tally.denied_lines) == (2, 1)
