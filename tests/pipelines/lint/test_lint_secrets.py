"""`secrets` of the file and of its plugins: what the plan knows of them, which is everything but their values."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from lint_world import PII, World

from pipelines.declaration import Asks, PluginDeclaration, StageDeclaration
from pipelines.plan import SecretPlan, SecretSource
from pipelines.problem import Mark, Severity

HEAD = "version: 1\nname: guard\n"
G = "pipelines: { g: { hook: tool_pre_invoke, stages: { a: { uses: keyed/mask } } } }\n"
KEYED = "plugins: { keyed: { source: ./keyed, grant: { secrets: [token] }, secrets: { token: api } } }\n"


@pytest.fixture
def keyed(world: World) -> World:
    """A world with a plugin that asks for a token."""
    world.plugins["./keyed"] = replace(PII, name="keyed", asks=Asks(secrets=("token",)))
    return world


def test_the_plan_knows_where_secrets_are_and_who_is_handed_which(keyed: World) -> None:
    plan = keyed.plan(HEAD + "secrets: { api: { from: env, name: API_TOKEN } }\n" + KEYED + G)
    assert plan.secrets == {"api": SecretPlan("api", SecretSource.ENV, "API_TOKEN", Mark("p.yaml", 3, 36))}
    assert plan.plugins["keyed"].secrets == {"token": "api"}


def test_a_path_is_kept_as_it_is_written_beside_the_file_that_says_it(keyed: World) -> None:
    keyed.files["shared/s.yaml"] = "secrets: { api: { from: file, path: ../keys/api } }\n"
    plan = keyed.plan("include: [shared/s.yaml]\n" + HEAD + KEYED + G)
    assert plan.secrets["api"] == SecretPlan("api", SecretSource.FILE, "../keys/api", Mark("shared/s.yaml", 1, 37))


def test_a_secret_that_a_plugin_can_do_without_is_granted_and_handed_or_neither(world: World) -> None:
    world.plugins["./keyed"] = replace(PII, name="keyed", asks=Asks(optional_secrets=("token",)))
    declared = HEAD + "secrets: { api: { from: env, name: API_TOKEN } }\n"
    bare = "plugins: { keyed: { source: ./keyed } }\n"
    assert world.plan(HEAD + bare + G).plugins["keyed"].secrets == {}
    assert world.plan(declared + KEYED + G).plugins["keyed"].secrets == {"token": "api"}
    for lacking, code in (
        ("grant: { secrets: [token] }, ", "not-granted"),
        (", secrets: { token: api }", "not-handed"),
    ):
        assert any(f" {code} " in one for one in world.refused(declared + KEYED.replace(lacking, "") + G))


def test_two_files_may_declare_secrets_but_not_the_same(keyed: World) -> None:
    keyed.files["s.yaml"] = "secrets: { other: { from: env, name: OTHER } }\n"
    secrets = "secrets: { api: { from: env, name: API } }\n"
    assert set(keyed.plan("include: [s.yaml]\n" + HEAD + secrets + KEYED + G).secrets) == {"api", "other"}
    keyed.files["s.yaml"] = secrets
    assert keyed.refused("include: [s.yaml]\n" + HEAD + secrets + KEYED + G) == ["4:12 duplicate-key secrets.api"]


def test_a_profile_changes_secrets_by_key(keyed: World) -> None:
    text = HEAD + "secrets: { api: { from: env, name: API } }\n" + KEYED + G
    profiles = "profiles: { dev: { secrets: { api: { from: file, name: null, path: ./dev } } } }\n"
    found = keyed.plan(text + profiles, "dev").secrets["api"]
    assert (found.source, found.where, keyed.plan(text + profiles).secrets["api"].where) == (
        SecretSource.FILE,
        "./dev",
        "API",
    )


def test_secrets_are_no_part_of_the_ids_of_configurations(keyed: World) -> None:
    """So a plan tells nothing of them, and stays the same when their values change."""
    ids = []
    for name in ("ONE", "TWO"):
        plan = keyed.plan(HEAD + f"secrets: {{ api: {{ from: env, name: {name} }} }}\n" + KEYED + G)
        ids.append(set(plan.plugins["keyed"].configs))
    assert ids[0] == ids[1]


def test_a_secret_that_nobody_is_handed_is_told_of(world: World) -> None:
    text = HEAD + "secrets: { api: { from: env, name: API } }\nplugins: { pii: { source: ./pii } }\n"
    (told,) = world.plan(text + G.replace("keyed", "pii")).warnings
    assert (told.code, told.severity, str(told.mark)) == ("unused-secret", Severity.WARNING, "p.yaml:3:12")


def test_the_example_of_the_page_is_right(world: World) -> None:
    page = (Path(__file__).parents[3] / "docs" / "pipeline-file.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    asks = Asks(network=("opa.corp.example:8181",), secrets=("token", "key"))
    world.plugins["./plugins/opa"] = PluginDeclaration("opa", "1.0", {"decide": StageDeclaration("decide")}, asks=asks)
    plan = world.plan(example)
    assert not plan.warnings and set(plan.secrets) == {"opa_token", "hmac_key"}
    assert plan.routes["tool_pre_invoke"][0].stages[0].split is not None
