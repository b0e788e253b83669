"""Includes, profiles and files in `with`."""

from __future__ import annotations

import pytest
from lint_world import World

from pipelines.plan import Plan
from pipelines.problem import SpecError

HEAD = "version: 1\nname: guard\nplugins: { pii: { source: ./pii } }\n"
G = "pipelines: { g: { hook: tool_pre_invoke, deadline: 2s, stages: { a: { uses: pii/mask, timeout: fast } } } }\n"


def seconds(plan: Plan) -> float:
    return plan.routes["tool_pre_invoke"][0].stages[0].variants[0].timeout_seconds


def test_an_included_file_adds_its_keys(world: World) -> None:
    world.files["shared/t.yaml"] = "policies: { timeouts: { fast: 50ms } }\n"
    plan = world.plan("include: [shared/t.yaml]\n" + HEAD + G)
    assert seconds(plan) == 0.05
    assert plan.files == ("p.yaml", "shared/t.yaml")


def test_an_include_is_relative_to_the_file_that_says_it(world: World) -> None:
    world.files |= {"a/b.yaml": "include: [c.yaml]\n", "a/c.yaml": "policies: { timeouts: { fast: 50ms } }\n"}
    assert seconds(world.plan("include: [a/b.yaml]\n" + HEAD + G)) == 0.05


def test_a_mistake_in_an_include_is_reported_there(world: World) -> None:
    world.files["t.yaml"] = "policies: { timeouts: { fast: 50 } }\n"
    with pytest.raises(SpecError) as error:
        world.plan("include: [t.yaml]\n" + HEAD + G)
    assert str(error.value.problems[0].mark) == "t.yaml:1:31"


def test_what_two_files_define_names_both_places(world: World) -> None:
    world.files["t.yaml"] = "plugins:\n  pii: { source: ./pii }\n"
    with pytest.raises(SpecError, match=r"p.yaml:4:12: duplicate-key plugins.pii: .* also in t.yaml:2:3"):
        world.plan("include: [t.yaml]\n" + HEAD)


def test_a_profile_is_laid_over_by_key(world: World) -> None:
    profiles = "policies: { timeouts: { fast: 50ms } }\nprofiles: { dev: { policies: { timeouts: { fast: 1s } } } }\n"
    assert seconds(world.plan(HEAD + G + profiles)) == 0.05
    assert seconds(world.plan(HEAD + G + profiles, "dev")) == 1.0


def test_null_deletes_a_key(world: World) -> None:
    timeouts = "policies: { timeouts: { fast: 50ms } }\n"
    profiles = "profiles: { dev: { pipelines: { g: { stages: { a: { timeout: null } } } } } }\n"
    assert seconds(world.plan(HEAD + G + timeouts + profiles, "dev")) == 2.0


def test_every_profile_is_checked_whichever_is_asked_for(world: World) -> None:
    text = HEAD + "profiles:\n  dev: { pipelines: { g: { hook: tool_pre_invok, stages: {} } } }\n"
    codes = [problem.split()[1] for problem in world.refused(text)]
    assert codes == ["unused-plugin", "unknown-hook", "wrong-value"]


def test_an_unknown_profile_is_refused_with_the_nearest(world: World) -> None:
    with pytest.raises(SpecError, match="no profile 'dve'; did you mean 'dev'"):
        world.plan(HEAD + "profiles: { dev: {} }\n", "dve")


def test_a_file_in_with_becomes_its_content(world: World) -> None:
    world.files |= {"w.yaml": "[1, on, 017]\n", "w.json": '{"a": [1.5, null]}', "w.txt": "one\ntwo\n"}
    files = "{ y: { file: w.yaml }, j: { file: w.json }, t: { file: w.txt }, n: [{ file: w.txt }], keep: 1 }"
    plan = world.plan(HEAD + G.replace("timeout: fast", f"with: {files}"))
    (config,) = plan.plugins["pii"].configs.values()
    text = "one\ntwo\n"
    assert config == {"y": [1, "on", "017"], "j": {"a": [1.5, None]}, "t": text, "n": [text], "keep": 1}
