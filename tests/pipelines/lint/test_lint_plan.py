"""What a good file becomes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lint_world import World

from pipelines.declaration import Asks
from pipelines.expressions import Expression
from pipelines.plan import Mode, Need, OnError, PipelinePlan, Plan, StageState, Unmatched

HEAD = "version: 1\nname: guard\nplugins: { pii: { source: ./pii } }\n"


def only(plan: Plan, hook: str = "tool_pre_invoke") -> PipelinePlan:
    (pipeline,) = plan.routes[hook]
    return pipeline


def test_stages_come_in_an_order_that_keeps_the_files_order(staged: Callable[[str], Plan]) -> None:
    plan = staged("c: { uses: pii/count, needs: [b] }\na: { uses: pii/count }\nb: { uses: pii/count }")
    stages = only(plan).stages
    assert [stage.id for stage in stages] == ["a", "b", "c"]
    assert [stage.index for stage in stages] == [0, 1, 2]
    assert stages[2].needs == (Need(1),)
    assert [stage.ancestors for stage in stages] == [0, 0, 0b010]


def test_a_need_may_name_the_states_it_asks_for(staged: Callable[[str], Plan]) -> None:
    plan = staged("a: { uses: pii/count }\nb: { uses: pii/count, needs: [{ stage: a, is: [succeeded] }] }")
    assert only(plan).stages[1].needs == (Need(0, frozenset({StageState.SUCCEEDED})),)


def test_a_file_on_two_hooks_makes_two_plans(world: World) -> None:
    plan = world.plan(
        HEAD + "pipelines: { g: { hook: [tool_pre_invoke, prompt_pre_fetch], stages: { a: { uses: pii/mask } } } }\n"
    )
    assert set(plan.routes) == {"tool_pre_invoke", "prompt_pre_fetch"}
    assert only(plan, "prompt_pre_fetch").stages[0].writes == (("payload", "args"),)


def test_pipelines_on_one_hook_keep_the_order_of_the_file(world: World) -> None:
    one = "{ hook: tool_pre_invoke, stages: { a: { uses: pii/count } } }"
    plan = world.plan(f"{HEAD}pipelines:\n  z: {one}\n  a: {one}\n  m: {one}\n")
    assert [pipeline.name for pipeline in plan.routes["tool_pre_invoke"]] == ["z", "a", "m"]


@pytest.mark.parametrize(
    ("stage", "mode", "on_error"),
    [
        ("{ uses: pii/count }", Mode.ENFORCE, OnError.FAIL),
        ("{ uses: pii/count, mode: permissive }", Mode.PERMISSIVE, OnError.CONTINUE),
        ("{ uses: pii/count, mode: audit }", Mode.AUDIT, OnError.CONTINUE),
        ("{ uses: pii/count, mode: audit, on_error: fail }", Mode.AUDIT, OnError.FAIL),
        ("{ uses: pii/count, on_error: continue }", Mode.ENFORCE, OnError.CONTINUE),
    ],
)
def test_on_error_follows_the_mode_unless_it_is_written(
    staged: Callable[[str], Plan], stage: str, mode: Mode, on_error: OnError
) -> None:
    (variant,) = only(staged(f"a: {stage}")).stages[0].variants
    assert (variant.mode, variant.on_error) == (mode, on_error)


def test_overrides_come_first_and_the_stage_as_written_last(staged: Callable[[str], Plan]) -> None:
    plan = staged(
        "a:\n  uses: pii/mask\n  with: { keep: 1 }\n  timeout: 2s\n"
        "  overrides: [{ when: \"payload.name == 'x'\", with: { keep: 2 }, mode: audit, timeout: 50ms }]"
    )
    override, written = only(plan).stages[0].variants
    assert override.when is not None
    assert override.when.text == "payload.name == 'x'"
    assert (override.mode, override.on_error, override.timeout_seconds) == (Mode.AUDIT, OnError.CONTINUE, 0.05)
    assert (written.when, written.mode, written.timeout_seconds) == (None, Mode.ENFORCE, 2.0)
    configs = plan.plugins["pii"].configs
    assert (configs[override.config], configs[written.config]) == ({"keep": 2}, {"keep": 1})


def test_equal_configurations_have_one_id(staged: Callable[[str], Plan]) -> None:
    plan = staged("a: { uses: pii/mask, with: { keep: 1 } }\nb: { uses: pii/count, with: { keep: 1 } }")
    assert len(plan.plugins["pii"].configs) == 1


def test_a_timeout_is_its_own_a_default_or_the_deadline(world: World) -> None:
    text = (
        "policies: { timeouts: { fast: 50ms } }\n{}pipelines:\n  g:\n    hook: tool_pre_invoke\n    deadline: 3s\n"
        "    stages: {{ a: {{ uses: pii/count }}, b: {{ uses: pii/count, timeout: fast }} }}\n"
    )
    defaults = "defaults: { stage: { timeout: 1s } }\n"
    body = HEAD + text.replace("{{", "{").replace("}}", "}")
    seconds = [s.variants[0].timeout_seconds for s in only(world.plan(body.replace("{}", ""))).stages]
    assert seconds == [3.0, 0.05]
    seconds = [s.variants[0].timeout_seconds for s in only(world.plan(body.replace("{}", defaults))).stages]
    assert seconds == [1.0, 0.05]


def test_inputs_are_constants_or_expressions(staged: Callable[[str], Plan]) -> None:
    plan = staged('a: { uses: pii/count, in: { name: "${payload.name}", limit: 3, tags: [x] } }')
    name, limit, tags = only(plan).stages[0].inputs
    assert isinstance(name[1], Expression)
    assert (limit, tags) == (("limit", 3), ("tags", ["x"]))


def test_admission_hooks_deny_by_default_once_they_are_judged(world: World) -> None:
    bare = world.plan(HEAD)
    judged = world.plan(HEAD + "pipelines: { g: { hook: server_pre_register, stages: { a: { uses: pii/count } } } }\n")
    assert bare.unmatched["server_pre_register"] is Unmatched.ALLOW
    assert judged.unmatched["server_pre_register"] is Unmatched.DENY
    assert judged.unmatched["tool_pre_invoke"] is Unmatched.ALLOW


def test_unmatched_may_be_written(world: World) -> None:
    plan = world.plan(HEAD + "hooks: { tool_pre_invoke: { unmatched: deny } }\n")
    assert plan.unmatched["tool_pre_invoke"] is Unmatched.DENY


def test_a_hook_of_ones_own_has_fields_that_expressions_know(world: World) -> None:
    hooks = "hooks: { invoice_pre_send: { summary: Before it goes., payload: { number: string, total: double } } }\n"
    stages = "stages: { a: { uses: pii/count } }"
    rest = f"pipelines: {{ g: {{ hook: invoice_pre_send, match: 'payload.total > 100.0', {stages} }} }}\n"
    plan = world.plan(HEAD + hooks + rest)
    assert plan.hooks["invoice_pre_send"].doc == "Before it goes."
    assert (
        world.refused(HEAD + hooks + rest.replace("payload.total", "payload.totl"))[0].split()[1] == "expression-name"
    )


def test_what_only_the_other_hook_has_may_be_asked_for(world: World) -> None:
    """`payload.name` is there on tool_pre_invoke and reads as absent on prompt_pre_fetch."""
    hooks = "hook: [tool_pre_invoke, prompt_pre_fetch], match: \"payload.name != 'x'\""
    text = f"pipelines: {{ g: {{ {hooks}, stages: {{ a: {{ uses: pii/mask }} }} }} }}\n"
    plan = world.plan(HEAD + text)
    match = only(plan, "prompt_pre_fetch").match
    assert match is not None
    assert match.evaluate({"payload": {"prompt_id": "p"}, "context": {}}) is True


def test_plugins_carry_replicas_extras_and_grants(world: World) -> None:
    plan = world.plan(
        "version: 1\nname: g\nplugins: { pii: { source: ./pii } }\ndefaults: { plugin: { replicas: 3 } }\n"
        "pipelines: { g: { hook: tool_pre_invoke, stages: { a: { uses: pii/count } } } }\n"
    )
    assert (plan.plugins["pii"].replicas, plan.plugins["pii"].extras, plan.plugins["pii"].grant) == (3, None, Asks())


def test_a_plugin_that_nothing_uses_is_left_out_with_a_warning(world: World) -> None:
    plan = world.plan(HEAD)
    assert not plan.plugins
    assert [warning.code for warning in plan.warnings] == ["unused-plugin"]


def test_every_mistake_in_a_hook_of_ones_own_is_named(world: World) -> None:
    hooks = "hooks: { own_pre_send: { payload: { a: strng, b: { c: intt } }, answer: { d: bol } } }\n"
    assert [problem.split()[1:] for problem in world.refused(HEAD + hooks) if "hooks." in problem] == [
        ["wrong-value", "hooks.own_pre_send.payload.a"],
        ["wrong-value", "hooks.own_pre_send.payload.b.c"],
        ["wrong-value", "hooks.own_pre_send.answer.d"],
    ]
