"""What may stand at a path, what does, and who said so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.file.containers import ListOf, MapOf, OneOrMany
from pipelines.file.explain import NoSuchPath, explain, read_path
from pipelines.file.layers import overlay
from pipelines.file.section import Record, Section, Short, keys_of
from pipelines.file.source import parse
from pipelines.file.spec import PROFILE, FileSpec
from pipelines.file.tree import Table

TEXT = """\
version: 1
name: guard
plugins: { pii: { source: ./pii, with: { detect: [email] } } }
policies: { timeouts: { fast: 50ms } }
defaults: { stage: { mode: audit } }
pipelines:
  guard:
    hook: tool_pre_invoke
    stages:
      pii: { uses: pii/mask, timeout: fast, needs: [{ stage: a }] }
profiles: { dev: { policies: { timeouts: { fast: 1s } } } }
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
        ("profiles.dev.policies.timeouts.fast", "1s", "file", "11:50"),
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
    assert (found.value, found.layer, str(found.mark)) == ("1s", "profile dev", "p.yaml:11:50")


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
        ("name.first", "name"),
        ("secrets", None),
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
        if isinstance(shape, Record | Short):
            yield from sections(shape.section)


def test_every_key_is_documented() -> None:
    found = set(sections(FileSpec))
    assert len(found) > 10
    for section in found:
        assert section.__doc__
        assert all(about.doc.endswith(".") for about in keys_of(section).values()), section
