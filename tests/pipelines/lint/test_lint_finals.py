"""`finally`: stages after the answer, and what they may look at."""

from __future__ import annotations

import pytest
from lint_world import World

from pipelines.expressions import Expression
from pipelines.plan import Mode, OnError, Plan, StagePlan

HEAD = "version: 1\nname: g\nplugins: { ledger: { source: ./ledger }, pii: { source: ./pii } }\n"


def text(final: str, head: str = "", hook: str = "tool_pre_invoke") -> str:
    stages = "stages: { a: { uses: pii/count, when: \"context.tenant == 'x'\" } }"
    return f"{HEAD}{head}pipelines:\n  g:\n    hook: {hook}\n    {stages}\n    finally:\n      record: {{ {final} }}\n"


def only(plan: Plan, hook: str = "tool_pre_invoke") -> StagePlan:
    (pipeline,) = plan.routes[hook]
    (final,) = pipeline.finals
    return final


def test_a_final_needs_nothing_and_only_records(world: World) -> None:
    plan = world.plan(text("uses: ledger/append, with: { x: 1 }"))
    final = only(plan)
    assert (final.id, final.index, final.needs, final.ancestors, final.undo) == ("record", 0, (), 0, None)
    (variant,) = final.variants
    assert (variant.mode, variant.on_error, variant.timeout_seconds) == (Mode.AUDIT, OnError.CONTINUE, 10.0)
    assert plan.plugins["ledger"].configs[variant.config] == {"x": 1}


@pytest.mark.parametrize("mode", [Mode.AUDIT, Mode.PERMISSIVE, Mode.DISABLED])
def test_every_mode_but_enforce_may_be_written(world: World, mode: Mode) -> None:
    assert only(world.plan(text(f"uses: ledger/append, mode: {mode.value}"))).variants[0].mode is mode


def test_the_mode_of_the_defaults_is_not_for_finals(world: World) -> None:
    head = "defaults: { stage: { mode: enforce, timeout: 2s, retry: { attempts: 2, on: [WorkerLost, Busy] } } }\n"
    final = only(world.plan(text("uses: ledger/append", head)))
    assert (final.variants[0].mode, final.variants[0].timeout_seconds) == (Mode.AUDIT, 2.0)
    assert final.retry is not None
    assert final.retry.on == {"Busy"}


def test_a_final_may_ask_its_run_and_every_stage(world: World) -> None:
    """Also one that may be skipped or never came to run."""
    inputs = 'v: "${run.verdict + run.code + run.reason}", n: "${stages.a.out.total}", s: "${payload.name}", k: [1]'
    final = only(world.plan(text(f"uses: ledger/append, in: {{ {inputs} }}, when: \"run.verdict == 'deny'\"")))
    values = dict(final.inputs)
    verdict = values["v"]
    assert isinstance(verdict, Expression)
    assert verdict.evaluate({"run": {"verdict": "deny", "code": "", "reason": "no"}}) == "denyno"
    assert values["k"] == [1]
    assert final.when is not None
    assert final.when.evaluate({"run": {"verdict": "allow"}}) is False


def test_a_final_is_made_for_each_hook(world: World) -> None:
    plan = world.plan(text("uses: ledger/append", hook="[tool_pre_invoke, prompt_pre_fetch]"))
    assert only(plan).id == only(plan, "prompt_pre_fetch").id == "record"


def test_finals_keep_the_order_of_the_file(world: World) -> None:
    plan = world.plan(text("uses: ledger/append") + "      alarm: { uses: ledger/append }\n")
    assert [(final.id, final.index) for final in plan.routes["tool_pre_invoke"][0].finals] == [
        ("record", 0),
        ("alarm", 1),
    ]


def test_a_final_with_effects_outside_needs_no_undo(world: World) -> None:
    """It comes after every undo."""
    assert only(world.plan(text("uses: ledger/charge"))).stage == "charge"


def test_a_final_may_be_mocked(world: World) -> None:
    case = "{ name: n, pipeline: g, payload: { name: x }, mock: { record: {} }, expect: [\"run.verdict == 'allow'\"] }"
    (found,) = world.plan(text("uses: ledger/append") + f"tests: [{case}]\n").cases
    assert found.mock == {"record": {}}
