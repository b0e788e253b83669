"""What may stand at a path, what does, and who said so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.file.containers import ListOf, MapOf, OneOrMany
from pipelines.file.explain import NoSuchPath, explain, read_path
from pipelines.file.layers import overlay
from pipelines.file.section import OwnOrNone, Policy, Record, Section, Short, keys_of
from pipelines.file.source import parse
from pipelines.file.spec import PROFILE, FileSpec
from pipelines.file.tree import Table

TEXT = """\
version: 1
name: guard
plugins: { pii: { source: ./pii, with: { detect: [email] } } }
policies: { timeouts: { fast: 50ms }, retries: { twice: { attempts: 2 } }, breakers: { b: { window: 9 } } }
defaults: { stage: { mode: audit, retry: twice, breaker: b }, plugin: { queue: 7 } }
pipelines:
  guard:
    hook: tool_pre_invoke
    stages:
      pii: { uses: pii/mask, timeout: fast, needs: [{ stage: a }] }
      a: { uses: pii/mask, retry: { attempts: 2 }, compensate: { uses: pii/undo } }
    finally: { last: { uses: pii/mask } }
profiles: { dev: { policies: { timeouts: { fast: 1s } } } }
secrets: { api_token: { from: env, name: API_TOKEN } }
"""


def tree(profile: str | None = None) -> Table:
    root, _ = parse(TEXT.encode(), "p.yaml")
    assert isinstance(root, Table)
    profiles = root.get("profiles")
    assert isinstance(profiles, Table)
    over = profiles.get("dev")
    assert isinstance(over, Table)
    return root if profile is None else overlay(root, over, profile, PROFILE.keys, [])


@pytest.mark.parametrize(
    ("path", "value", "layer", "place"),
    [
        ("name", "guard", "file", "2:7"),
        ("plugins.pii.with.detect[0]", "email", "file", "3:51"),
        ("pipelines.guard.stages.pii.timeout", "fast", "file", "10:39"),
        ("pipelines.guard.stages.pii.needs[0].stage", "a", "file", "10:62"),
        ("pipelines.guard.stages.pii.mode", "audit", "file", "5:28"),
        ("pipelines.guard.deadline", "10s", "default", None),
        ("plugins.pii.replicas", 1, "default", None),
        ("plugins.pii.queue", 7, "file", "5:80"),
        ("plugins.pii.concurrency", "as many as its workers take", "default", None),
        ("policies.retries.twice.backoff.initial", "20ms", "default", None),
        ("policies.retries.twice.backoff.jitter", "full", "default", None),
        ("policies.breakers.b.probes", 3, "default", None),
        ("pipelines.guard.stages.a.retry.attempts", 2, "file", "11:47"),
        ("pipelines.guard.stages.pii.retry", "twice", "file", "5:42"),
        ("pipelines.guard.stages.pii.breaker", "b", "file", "5:58"),
        ("pipelines.guard.stages.pii.compensate", "none", "default", None),
        ("pipelines.guard.stages.a.compensate.uses", "pii/undo", "file", "11:72"),
        ("pipelines.guard.stages.a.compensate.retry", "twice", "file", "5:42"),
        ("pipelines.guard.stages.a.compensate.timeout", "the undo_deadline of the pipeline", "default", None),
        ("pipelines.guard.undo_deadline", "30s", "default", None),
        ("pipelines.guard.recover", "undo", "default", None),
        ("pipelines.guard.finally.last.mode", "audit", "default", None),
        ("pipelines.guard.finally.last.retry", "twice", "file", "5:42"),
        ("profiles.dev.policies.timeouts.fast", "1s", "file", "13:50"),
    ],
)
def test_a_value_comes_with_its_layer_and_place(path: str, value: object, layer: str, place: str | None) -> None:
    found = explain(tree(), path)
    shown = None if found.mark is None else f"{found.mark.line}:{found.mark.column}"
    assert (found.path, found.value, found.layer, shown) == (path, value, layer, place)
    assert found.documentation
    assert found.type


def test_a_profile_is_named_where_it_wins() -> None:
    found = explain(tree("dev"), "policies.timeouts.fast")
    assert (found.value, found.layer, str(found.mark)) == ("1s", "profile dev", "p.yaml:13:50")


def test_a_value_from_the_defaults_says_so() -> None:
    assert explain(tree(), "pipelines.guard.stages.pii.mode").inherited == "defaults.stage.mode"


def test_the_root_lists_the_sections() -> None:
    members = {member.name: member.layer for member in explain(tree(), "").members}
    assert (members["plugins"], members["hooks"]) == ("file", None)


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("plugns", "plugins"),
        ("plugins.pi", "plugins.pii"),
        ("pipelines.guard.stages.pii.tiemout", "pipelines.guard.stages.pii.timeout"),
        ("pipelines.guard.stages.pii.needs[4]", None),
        ("pipelines.guard.stages.a.retry.attemps", "pipelines.guard.stages.a.retry.attempts"),
        ("pipelines.guard.finally.lst", "pipelines.guard.finally.last"),
        ("name.first", "name"),
        ("policies.limits", None),
        ("secrets.api_tokn", "secrets.api_token"),
        ("a[b]", None),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path: str, near: str | None) -> None:
    with pytest.raises(NoSuchPath) as error:
        explain(tree(), path)
    assert error.value.suggestion == near


def test_a_path_is_taken_apart() -> None:
    assert read_path("a.b[0][1].c") == ("a", "b", 0, 1, "c")
    assert read_path("") == read_path(".") == ()


def sections(section: type[Section]) -> Iterator[type[Section]]:
    yield section
    for about in keys_of(section).values():
        shape: object = about.shape
        while isinstance(shape, ListOf | OneOrMany | MapOf):
            shape = shape.value if isinstance(shape, MapOf) else shape.item
        if isinstance(shape, Record | Short | Policy | OwnOrNone):
            yield from sections(shape.section)


def test_every_key_is_documented() -> None:
    found = set(sections(FileSpec))
    assert len(found) > 20
    for section in found:
        assert section.__doc__
        assert all(about.doc.endswith(".") for about in keys_of(section).values()), section
