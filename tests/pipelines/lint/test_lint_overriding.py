"""Overrides by command: what they make of a stage, and what they must not make of a file."""

from __future__ import annotations

import pytest
from lint_world import World

from pipelines.file.overriding import LAYER, Override, override
from pipelines.file.source import parse
from pipelines.file.tree import Table, find
from pipelines.plan import Mode, OnError, Plan, StagePlan
from pipelines.problem import Problem

HEAD = "version: 1\nname: guard\nplugins: { pii: { source: ./pii } }\n"
FILE = (
    HEAD
    + """\
pipelines:
  one:
    hook: [tool_pre_invoke, prompt_pre_fetch]
    stages:
      mask:
        uses: pii/mask
        mode: enforce
        on_error: fail
        overrides:
          - { when: "context.tenant == 'a'", mode: audit }
          - { when: "context.tenant == 'b'", on_error: fail, with: { keep: 1 } }
      count: { uses: pii/count, needs: [mask] }
  two:
    hook: tool_post_invoke
    stages:
      count: { uses: pii/count }
profiles:
  short: { pipelines: { two: null } }
"""
)


def to(mode: Mode, stage: str, reason: str = "INC-7") -> Override:
    return Override(stage, mode, 1_700_000_000.0, reason, "uid:1000")


def permissive(stage: str) -> Override:
    return to(Mode.PERMISSIVE, stage)


def disabled(stage: str) -> Override:
    return to(Mode.DISABLED, stage)


def stage_of(plan: Plan, pipeline: str, stage: str) -> StagePlan:
    """A stage on the first of its hooks."""
    pipelines = (one for route in plan.routes.values() for one in route if one.name == pipeline)
    return next(one for one in next(pipelines).stages if one.id == stage)


def test_a_permissive_override_turns_the_stage_and_all_of_its_variants(world: World) -> None:
    """Else the calls of some tenant would still be denied, or fail, at three in the morning."""
    plan = world.plan(FILE, None, permissive("mask"))
    for hook in ("tool_pre_invoke", "prompt_pre_fetch"):
        mask, count = plan.routes[hook][0].stages
        assert {(v.mode, v.on_error) for v in mask.variants} == {(Mode.PERMISSIVE, OnError.CONTINUE)}
        assert [v.when is None for v in mask.variants] == [False, False, True]
        assert (mask.overridden, count.overridden) == ("INC-7", "")
        assert count.variants == world.plan(FILE).routes[hook][0].stages[1].variants


def test_configurations_and_timeouts_of_variants_stay_as_they_are(world: World) -> None:
    before, after = (world.plan(FILE, None, *some) for some in ((), (permissive("mask"),)))
    configs = [[v.config for v in stage_of(plan, "one", "mask").variants] for plan in (before, after)]
    assert configs[0] == configs[1] and before.plugins["pii"].configs == after.plugins["pii"].configs


def test_a_disabled_override_disables_the_stage_and_all_of_its_variants(world: World) -> None:
    mask = stage_of(world.plan(FILE, None, disabled("one/mask")), "one", "mask")
    assert {v.mode for v in mask.variants} == {Mode.DISABLED}


def test_of_two_overrides_of_one_stage_the_later_holds(world: World) -> None:
    plan = world.plan(FILE, None, permissive("mask"), to(Mode.DISABLED, "one/mask", "INC-8"))
    mask = stage_of(plan, "one", "mask")
    assert (mask.variants[-1].mode, mask.overridden) == (Mode.DISABLED, "INC-8")


def test_without_overrides_nothing_is_overridden(world: World) -> None:
    plan = world.plan(FILE)
    stages = [stage for route in plan.routes.values() for p in route for stage in p.stages]
    assert [stage.overridden for stage in stages] == [""] * len(stages)


def test_a_stage_that_several_pipelines_have_is_written_with_its_pipeline(world: World) -> None:
    (told,) = world.problems(FILE, None, permissive("count"))
    assert (told.code, str(told.mark)) == ("ambiguous-stage", "p.yaml:4:1")
    assert told.message == "several pipelines have a stage 'count': one/count, two/count"
    assert stage_of(world.plan(FILE, None, permissive("two/count")), "one", "count").overridden == ""
    assert stage_of(world.plan(FILE, None, permissive("two/count")), "two", "count").overridden == "INC-7"


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("msk", "mask"),
        ("one/msk", "one/mask"),
        ("on/mask", "one/mask"),
        ("two/mask", "one/mask"),
        ("nothing_like_it", None),
    ],
)
def test_an_unknown_stage_is_refused_with_the_nearest(world: World, written: str, near: str | None) -> None:
    (told,) = world.problems(FILE, None, permissive(written))
    assert (told.code, told.suggestion) == ("unknown-stage", near)
    assert repr(written) in told.message


def test_the_overrides_are_for_the_profile_that_is_in_service(world: World) -> None:
    """In the profile `count` is of one pipeline alone; the others are checked as they are written."""
    plan = world.plan(FILE, "short", permissive("count"))
    assert stage_of(plan, "one", "count").overridden == "INC-7"


# What cannot be.


def codes(problems: tuple[Problem, ...]) -> list[str]:
    return [f"{p.mark.line}:{p.mark.column} {p.code}" for p in problems]


def test_a_stage_whose_out_is_needed_cannot_be_disabled_without_an_otherwise(world: World) -> None:
    text = (
        HEAD + "pipelines:\n  one:\n    hook: tool_pre_invoke\n    stages:\n      mask: { uses: pii/mask OTHERWISE }\n"
        '      count: { uses: pii/count, needs: [mask], in: { n: "${stages.mask.out.found}" } }\n'
    )
    refused = world.problems(text.replace(" OTHERWISE", ""), None, disabled("mask"))
    assert codes(refused) == ["9:60 may-be-skipped"]
    world.plan(text.replace("OTHERWISE", ", otherwise: { found: 0 }"), None, disabled("mask"))


def test_a_file_that_is_wrong_is_refused_for_what_it_says_itself(world: World) -> None:
    assert codes(world.problems(FILE.replace("pii/count }", "pii/cuont }"), None, permissive("mask"))) == [
        "19:26 unknown-stage"
    ]


ADMISSION = (
    HEAD + "pipelines:\n  join:\n    hook: server_pre_register\n    stages:\n      look: { uses: pii/count }\n"
    "      weigh: { uses: pii/count, mode: MODE }\n"
)


def test_an_admission_hook_keeps_a_stage_that_enforces(world: World) -> None:
    two = ADMISSION.replace("MODE", "enforce")
    world.plan(two, None, permissive("look"))
    refused = world.problems(two, None, permissive("look"), disabled("weigh"))
    assert codes(refused) == ["8:7 open-admission", "9:7 open-admission"]
    assert codes(world.problems(ADMISSION.replace("MODE", "audit"), None, disabled("look"))) == ["8:7 open-admission"]


def test_an_admission_hook_that_never_enforced_may_be_overridden(world: World) -> None:
    text = ADMISSION.replace("MODE", "audit").replace("pii/count }", "pii/count, mode: audit }")
    world.plan(text, None, permissive("look"))


# The value and the tree.


@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.AUDIT])
def test_only_two_modes_can_be_set_by_command(mode: Mode) -> None:
    with pytest.raises(ValueError, match=f"permissive or disabled, not {mode.value}"):
        to(mode, "mask")


def test_an_override_has_a_reason() -> None:
    with pytest.raises(ValueError, match="has a reason"):
        to(Mode.DISABLED, "mask", "  ")


def test_the_tree_says_what_was_overridden_and_the_file_stays_as_it_is() -> None:
    root, _ = parse(FILE.encode(), "p.yaml")
    assert isinstance(root, Table)
    changed = override(root, [permissive("mask")]).root
    path = ("pipelines", "one", "stages", "mask", "mode")
    assert (find(changed, path).value.layer, find(root, path).value.layer) == (LAYER, "file")
    assert find(changed, ("pipelines", "two")) == find(root, ("pipelines", "two"))
