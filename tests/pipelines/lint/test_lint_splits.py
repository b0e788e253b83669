"""`split`: what the plan knows of it, and what may stand side by side."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lint_world import World

from pipelines.expressions import ExpressionFailed
from pipelines.plan import DEFAULT_ABORT, AbortPolicy, Plan, SplitPlan
from pipelines.problem import Mark

ONE = "  one: { hook: tool_pre_invoke, stages: { a: { uses: pii/mask, split: { canary: 5, key: context.tenant } } } }"
HEAD = "version: 1\nname: guard\nplugins: { pii: { source: ./pii } }\n"


def split_of(plan: Plan, hook: str = "tool_pre_invoke") -> SplitPlan:
    split = plan.routes[hook][0].stages[0].split
    assert split is not None
    return split


def test_a_split_is_a_percentage_a_key_and_when_to_abort(staged: Callable[[str], Plan]) -> None:
    split = split_of(staged("a: { uses: pii/mask, split: { canary: 0.5, key: context.tenant } }"))
    assert (split.percent, split.abort, split.mark) == (0.5, DEFAULT_ABORT, Mark("p.yaml", 8, 28))
    assert split.key.evaluate({"context": {"tenant": "acme"}}) == "acme"


def test_figures_of_the_abort_that_are_not_written_are_the_defaults(staged: Callable[[str], Plan]) -> None:
    plan = staged("a: { uses: pii/mask, split: { canary: 100, key: payload.name, abort: { errors: 1.5 } } }")
    assert split_of(plan).abort == AbortPolicy(1.5, DEFAULT_ABORT.latency_factor, DEFAULT_ABORT.minimum_calls)


def test_a_stage_without_one_has_none(staged: Callable[[str], Plan]) -> None:
    assert staged("a: { uses: pii/mask }").routes["tool_pre_invoke"][0].stages[0].split is None


@pytest.mark.parametrize("value", [7, None, ["x"], {"x": 1}])
def test_a_key_of_a_kind_that_is_known_only_at_run_must_still_be_a_string(
    staged: Callable[[str], Plan], value: object
) -> None:
    split = split_of(staged("a: { uses: pii/mask, split: { canary: 5, key: payload.args.session } }"))
    assert split.key.evaluate({"payload": {"args": {"session": "s"}}}) == "s"
    with pytest.raises(ExpressionFailed):
        split.key.evaluate({"payload": {"args": {"session": value}}})


def test_a_key_that_is_put_together_is_a_string(staged: Callable[[str], Plan]) -> None:
    split = split_of(
        staged("a: { uses: pii/mask, split: { canary: 5, key: \"context.tenant + '/' + payload.name\" } }")
    )
    assert split.key.evaluate({"context": {"tenant": "t"}, "payload": {"name": "n"}}) == "t/n"


def test_a_key_that_is_not_there_cannot_be_worked_out(staged: Callable[[str], Plan]) -> None:
    split = split_of(staged("a: { uses: pii/mask, split: { canary: 5, key: context.user.email } }"))
    with pytest.raises(ExpressionFailed):
        split.key.evaluate({"context": {"user": {}}})


def test_equal_splits_stand_side_by_side_and_unequal_ones_name_both_places(world: World) -> None:
    def pipelines(other: str) -> str:
        return (
            f"pipelines:\n{ONE}\n"
            f"  two: {{ hook: tool_pre_invoke, stages: {{ b: {{ uses: pii/count, split: {other} }} }} }}\n"
        )

    plan = world.plan(HEAD + pipelines("{ key: context.tenant, canary: 5.0, abort: { errors: 2 } }"))
    assert [pipeline.stages[0].split is not None for pipeline in plan.routes["tool_pre_invoke"]] == [True, True]
    for other in ("{ canary: 6, key: context.tenant }", "{ canary: 5, key: payload.name }"):
        (told,) = world.problems(HEAD + pipelines(other))
        assert str(told).startswith("p.yaml:6:65: split-conflict pipelines.two.stages.b.split: ")
        assert told.message.startswith("p.yaml:5:64 splits the calls of tool_pre_invoke otherwise, ")


def test_splits_of_different_hooks_may_differ(world: World) -> None:
    world.plan(
        f"{HEAD}pipelines:\n{ONE}\n"
        "  two: { hook: prompt_pre_fetch, stages: { b: { uses: pii/mask, split: { canary: 9, key: context.tenant }}}}\n"
    )
