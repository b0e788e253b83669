"""Timeouts times attempts, held against the deadline of the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lint_world import World

from pipelines.lint.budget import longest_seconds
from pipelines.plan import Jitter, RetryPolicy

EXAMPLE = Path(__file__).parents[3] / "examples" / "gateway-guard"
HEAD = "version: 1\nname: g\nplugins: { pii: { source: ./pii } }\n"


def warned(world: World, stages: str, *, deadline: str = "    deadline: 2s\n", head: str = "") -> list[str]:
    body = "".join(f"      {line}\n" for line in stages.splitlines())
    plan = world.plan(f"{HEAD}{head}pipelines:\n  g:\n    hook: tool_pre_invoke\n{deadline}    stages:\n{body}")
    assert all(warning.code == "over-deadline" for warning in plan.warnings)
    return [f"{w.mark.line}:{w.mark.column} {w.path}: {w.message}" for w in plan.warnings]


def test_a_row_of_stages_that_takes_too_long_is_named_with_both_figures(world: World) -> None:
    stages = (
        "a: { uses: pii/count, timeout: 1s }\n"
        "b: { uses: pii/count, timeout: 900ms }\n"
        "c: { uses: pii/count, timeout: 1200ms, needs: [a, b] }\n"
        "d: { uses: pii/count, needs: [c] }"
    )
    (only,) = warned(world, stages)
    assert only.startswith("7:15 pipelines.g.deadline: a, c may take 2.2s one after the other")
    assert only.endswith("the whole run has 2s")


def test_stages_side_by_side_do_not_add_up(world: World) -> None:
    stages = "\n".join(f"{name}: {{ uses: pii/count, timeout: 1900ms }}" for name in "abcdef")
    assert not warned(world, stages)


def test_a_row_may_take_exactly_the_deadline(world: World) -> None:
    assert not warned(world, "a: { uses: pii/count, timeout: 1s }\nb: { uses: pii/count, timeout: 1s, needs: [a] }")


def test_attempts_and_the_longest_pauses_count(world: World) -> None:
    """3 x 500 ms and pauses of 400 and 500 ms: jitter may draw less, and not more."""
    retry = "{ attempts: 3, on: [Busy], backoff: { initial: 400ms, max: 500ms } }"
    (only,) = warned(world, f"a: {{ uses: pii/count, timeout: 500ms, retry: {retry} }}")
    assert "a may take 2.4s, timeouts times attempts" in only
    policy = RetryPolicy("r", 3, frozenset(), 0.4, 0.5, 2.0, Jitter.FULL)
    assert longest_seconds(0.5, policy) == pytest.approx(2.4)


def test_a_stage_without_a_timeout_weighs_nothing(world: World) -> None:
    """The deadline itself bounds it."""
    retry = "{ attempts: 9, on: [Busy] }"
    assert not warned(world, f"a: {{ uses: pii/count, retry: {retry} }}\nb: {{ uses: pii/count, needs: [a] }}")


def test_the_timeout_of_the_defaults_counts(world: World) -> None:
    head = "defaults: { stage: { timeout: 1500ms } }\n"
    (only,) = warned(world, "a: { uses: pii/count }\nb: { uses: pii/count, needs: [a] }", head=head)
    assert "a, b may take 3s" in only


def test_the_longest_variant_counts_and_a_disabled_one_does_not(world: World) -> None:
    override = "overrides: [{ when: \"payload.name == 'x'\", timeout: 1900ms%s }]"
    row = "a: { uses: pii/count, timeout: 200ms, %s }\nb: { uses: pii/count, timeout: 200ms, needs: [a] }"
    assert "a, b may take 2.1s" in warned(world, row % (override % ""))[0]
    assert not warned(world, row % (override % ", mode: disabled"))


def test_one_attempt_longer_than_the_run_is_named_at_its_timeout(world: World) -> None:
    """And the row that it stands in is not named as well."""
    stages = "a: { uses: pii/count, timeout: 3s }\nb: { uses: pii/count, timeout: 1s, needs: [a] }"
    (only,) = warned(world, stages)
    assert only == "9:38 pipelines.g.stages.a.timeout: one attempt may take longer than the whole run, which has 2s"


def test_without_a_written_deadline_the_pipeline_itself_is_pointed_at(world: World) -> None:
    (only,) = warned(
        world,
        "a: { uses: pii/count, timeout: 6s }\nb: { uses: pii/count, timeout: 6s, needs: [a] }",
        deadline="",
    )
    assert only.startswith("5:3 pipelines.g.deadline: a, b may take 12s")


def test_networkx_is_not_loaded_for_a_file_that_keeps_its_deadline() -> None:
    """It would cost more CPU than the rest of a lint."""
    load = f"import sys, orchestrator.loading as l; l.load(l.Path({str(EXAMPLE)!r}))"
    program = f"{load}; print('networkx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
