"""Where a plugin offers a stage that admits, nothing is let in without it."""

from __future__ import annotations

import pytest
from lint_world import World

from pipelines.plan import Unmatched

HEAD = "version: 1\nname: g\nplugins: { attestation: { source: ./attestation }, pii: { source: ./pii } }\n"
GUARD = "a: { uses: attestation/appraise }"
NAMED = "match: \"payload.name == 'x'\""


def pipeline(name: str, stages: str, keys: str = "", hook: str = "server_pre_register") -> str:
    body = "".join(f"      {line}\n" for line in stages.splitlines())
    said = "".join(f"    {line}\n" for line in keys.splitlines())
    return f"  {name}:\n    hook: {hook}\n{said}    stages:\n{body}"


def text(*pipelines: str, hooks: str = "") -> str:
    return f"{HEAD}{hooks}pipelines:\n{''.join(pipelines)}"


def unguarded(world: World, file: str) -> list[str]:
    """Where the rule is broken, and nothing else may be wrong."""
    found = [one for one in world.refused(file) if " unused-plugin " not in one]
    assert all(" unguarded " in one for one in found), found
    return [one.replace(" unguarded", "") for one in found]


def test_an_enforcing_stage_that_admits_guards_the_hook(world: World) -> None:
    plan = world.plan(text(pipeline("g", f"i: {{ uses: attestation/identity, mode: permissive }}\n{GUARD}")))
    assert plan.unmatched["server_pre_register"] is Unmatched.DENY


@pytest.mark.parametrize(
    ("stage", "place"),
    [
        ("a: { uses: pii/count }", "5:3 pipelines.g.stages"),
        ("a: { uses: attestation/identity }", "5:3 pipelines.g.stages"),
        ("a: { uses: attestation/appraise, when: 'true' }", "8:46 pipelines.g.stages.a.when"),
        (
            "a: { uses: attestation/appraise, in: { who: '${payload.metadata.who}' } }",
            "8:51 pipelines.g.stages.a.in.who",
        ),
        ("a: { uses: attestation/appraise, in: { who: '${context.state.who}' } }", "8:51 pipelines.g.stages.a.in.who"),
        ("a: { uses: attestation/appraise, mode: permissive }", "8:46 pipelines.g.stages.a.mode"),
        ("a: { uses: attestation/appraise, mode: audit, on_error: fail }", "8:46 pipelines.g.stages.a.mode"),
        ("a: { uses: attestation/appraise, mode: disabled }", "8:46 pipelines.g.stages.a.mode"),
        ("a: { uses: attestation/appraise, on_error: continue }", "8:50 pipelines.g.stages.a.on_error"),
        (
            "a: { uses: attestation/appraise, overrides: [{ when: 'true', mode: audit }] }",
            "8:74 pipelines.g.stages.a.overrides[0].mode",
        ),
        (
            "a: { uses: attestation/appraise, overrides: [{ when: 'true', on_error: continue }] }",
            "8:78 pipelines.g.stages.a.overrides[0].on_error",
        ),
        (
            "a: { uses: attestation/appraise, mode: audit, overrides: [{ when: 'true', with: {} }] }",
            "8:46 pipelines.g.stages.a.mode",
        ),
    ],
)
def test_every_way_around_it_is_refused_at_its_place(world: World, stage: str, place: str) -> None:
    assert unguarded(world, text(pipeline("g", stage))) == [place]


def test_defaults_that_take_its_teeth_are_refused_at_the_stage(world: World) -> None:
    defaults = "defaults: { stage: { mode: permissive } }\n"
    assert unguarded(world, text(pipeline("g", GUARD), hooks=defaults)) == ["9:7 pipelines.g.stages.a.mode"]


def test_a_profile_that_takes_its_teeth_is_refused_whichever_is_asked_for(world: World) -> None:
    profile = "profiles: { soft: { pipelines: { g: { stages: { a: { mode: audit } } } } } }\n"
    assert unguarded(world, text(pipeline("g", GUARD)) + profile) == ["9:60 pipelines.g.stages.a.mode"]


RENAME = "r: { uses: attestation/rename }"


@pytest.mark.parametrize(
    "change", ["r: { uses: attestation/rename, needs: [a] }", RENAME, "r: { uses: pii/count, needs: [a] }"]
)
def test_what_was_judged_cannot_be_changed_afterwards(world: World, change: str) -> None:
    """By a stage that comes later, or may; one whose manifest does not say what it writes may change everything."""
    assert unguarded(world, text(pipeline("g", f"{GUARD}\n{change}"))) == ["9:18 pipelines.g.stages.r.uses"]


def test_what_was_judged_cannot_be_changed_in_a_later_pipeline(world: World) -> None:
    later = pipeline("later", RENAME)
    assert unguarded(world, text(pipeline("g", GUARD), later)) == ["12:18 pipelines.later.stages.r.uses"]


def test_what_is_judged_afterwards_may_be_changed(world: World) -> None:
    judged = "a: { uses: attestation/appraise, needs: [r] }"
    world.plan(text(pipeline("g", f"{RENAME}\n{judged}")))
    world.plan(text(pipeline("first", RENAME), pipeline("g", GUARD)))
    world.plan(text(pipeline("g", f"{GUARD}\nr: {{ uses: attestation/rename, mode: audit }}")))
    world.plan(text(pipeline("g", f"{GUARD}\ni: {{ uses: attestation/identity, needs: [a] }}")))


def test_a_second_one_may_be_tried_out_beside_one_that_enforces(world: World) -> None:
    world.plan(text(pipeline("g", f"{GUARD}\nb: {{ uses: attestation/appraise, mode: audit }}")))


def test_a_match_leaves_the_rest_to_unmatched(world: World) -> None:
    world.plan(text(pipeline("g", GUARD, NAMED)))
    hooks = "hooks: { server_pre_register: { unmatched: allow } }\n"
    place = ["4:44 hooks.server_pre_register.unmatched"]
    assert unguarded(world, text(pipeline("g", GUARD, NAMED), hooks=hooks)) == place


def test_unmatched_may_allow_where_a_guard_applies_to_everything(world: World) -> None:
    world.plan(text(pipeline("g", GUARD), hooks="hooks: { server_pre_register: { unmatched: allow } }\n"))


def test_a_pipeline_without_it_is_refused_beside_a_guard_that_does_not_apply_to_all(world: World) -> None:
    plain = pipeline("plain", "c: { uses: pii/count }")
    assert unguarded(world, text(pipeline("g", GUARD, NAMED), plain)) == ["10:3 pipelines.plain.stages"]


def test_a_pipeline_without_it_may_stand_beside_a_guard_that_applies_to_all(world: World) -> None:
    world.plan(text(pipeline("plain", "c: { uses: pii/count }", NAMED), pipeline("g", GUARD)))


def test_a_file_that_only_names_the_plugin_denies_what_nothing_judges(world: World) -> None:
    plan = world.plan(text(pipeline("g", "c: { uses: pii/count }", hook="tool_pre_invoke")))
    assert plan.unmatched["server_pre_register"] is Unmatched.DENY
    assert plan.unmatched["gateway_pre_register"] is Unmatched.ALLOW


def test_other_hooks_and_files_without_such_a_plugin_are_judged_as_before(world: World) -> None:
    world.plan(text(pipeline("g", "c: { uses: pii/count, mode: audit }", hook="gateway_pre_register")))
    bare = "version: 1\nname: g\nplugins: { pii: { source: ./pii } }\npipelines:\n"
    world.plan(bare + pipeline("g", "c: { uses: pii/count, mode: audit }"))
