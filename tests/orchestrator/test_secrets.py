"""Secrets as values: read late and within bounds, refused clearly, silent however they are printed."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from isolation.errors import StartError
from orchestrator.loading import load
from orchestrator.secrets import MAX_SECRET_BYTES, Secret, SecretError, Vault, secret_files, without_secrets
from pipelines.plan import Plan

MARKER = "marker-of-a-secret"
KEY = b"k" * 32

PIPELINE = """\
version: 1
name: guard
secrets:
  api: { from: file, path: ./keys/api }
  mac: { from: env, name: GUARD_MAC }
  spare: { from: file, path: ./keys/spare }
plugins:
  keyed: { source: ./keyed, grant: { secrets: [token, mac] }, secrets: { token: api, mac: mac } }
  plain: { source: ./plain }
pipelines:
  call:
    hook: tool_pre_invoke
    stages:
      a: { uses: keyed/check, with: { word: one } }
      b: { uses: keyed/check, with: { word: two }, needs: [a] }
      c: { uses: plain/check, needs: [b] }
profiles:
  dev: { secrets: { api: { path: ./keys/dev } } }
"""
MANIFEST = '[tool.penstock]\nname = "{0}"\nversion = "1.0.0"\n\n[tool.penstock.stages.check]\n'
ASKS = '\n[tool.penstock.permissions]\nsecrets = ["token", "mac"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipeline file whose plugin is handed two secrets."""
    for name, more in (("keyed", ASKS), ("plain", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(MANIFEST.format(name) + more)
        (tmp_path / name / "plugin.py").write_text("")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "api").write_text(MARKER)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    return tmp_path


def vault(key: bytes = KEY, **environ: str) -> Vault:
    return Vault({"GUARD_MAC": "a mac", **environ}, key)


def plan_of(folder: Path, profile: str | None = None) -> Plan:
    return load(folder, profile=profile).plan


def token(folder: Path) -> str:
    """What the vault reads from the file."""
    return vault().read(plan_of(folder))["api"].reveal()


# What is read.


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"abc", "abc"),
        (b"abc\n", "abc"),
        (b"abc\r\n", "abc"),
        (b"abc\n\n", "abc\n"),
        (b" a b ", " a b "),
        ("päss".encode(), "päss"),
        (b"-----BEGIN\nx\n-----END\n", "-----BEGIN\nx\n-----END"),
    ],
)
def test_a_file_is_the_secret_but_for_the_newline_at_its_end(folder: Path, written: bytes, read: str) -> None:
    (folder / "keys" / "api").write_bytes(written)
    assert token(folder) == read


def test_the_longest_secret_is_taken_and_a_longer_one_is_not(folder: Path) -> None:
    (folder / "keys" / "api").write_text("x" * MAX_SECRET_BYTES)
    assert len(token(folder)) == MAX_SECRET_BYTES
    (folder / "keys" / "api").write_text("x" * (MAX_SECRET_BYTES + 1))
    with pytest.raises(SecretError, match=f"holds more than {MAX_SECRET_BYTES} bytes"):
        token(folder)


def test_a_symlink_is_followed_to_the_newest_value(folder: Path) -> None:
    """As orchestrators of containers mount secrets, and swap them."""
    first, second = folder / "one", folder / "two"
    first.write_text("one")
    second.write_text("two")
    link = folder / "keys" / "api"
    link.unlink()
    link.symlink_to(first)
    assert token(folder) == "one"
    (folder / "next").symlink_to(second)
    (folder / "next").replace(link)
    assert token(folder) == "two"


def be_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def be_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def test_a_folder_in_the_place_of_a_secret_costs_no_descriptor(folder: Path) -> None:
    be_a_folder(folder / "keys" / "api")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(8):
        with pytest.raises(SecretError):
            token(folder)
    assert len(os.listdir("/proc/self/fd")) == before


def hold(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


@pytest.mark.parametrize(
    ("ruin", "reason"),
    [
        (Path.unlink, "No such file or directory"),
        (be_a_folder, "Is a directory"),
        (be_a_pipe, "is not a file"),
        (hold(b"\xff\xfe" + MARKER.encode()), "does not hold UTF-8 text"),
        (hold(b"\n"), "is empty"),
    ],
)
def test_a_secret_that_is_not_to_be_had_is_told_with_place_reason_and_remedy(
    folder: Path, ruin: Callable[[Path], object], reason: str
) -> None:
    path = folder / "keys" / "api"
    ruin(path)
    with pytest.raises(SecretError) as refused:
        token(folder)
    (problem,) = refused.value.problems
    assert (problem.name, problem.place.line, problem.place.column) == ("api", 4, 28)
    assert problem.place.file.endswith("pipeline.yaml")
    assert reason in problem.reason and str(path) in problem.reason and str(path) in problem.remedy
    assert str(refused.value) == str(problem) and refused.value.hint == problem.remedy
    assert isinstance(refused.value, StartError) and refused.value.code == "penstock.secret"
    assert MARKER not in str(refused.value) + repr(refused.value) + repr(problem)


def test_every_secret_that_is_missing_is_told_at_once(folder: Path) -> None:
    (folder / "keys" / "api").unlink()
    with pytest.raises(SecretError) as refused:
        Vault({}, KEY).hand_over(plan_of(folder))
    assert [problem.name for problem in refused.value.problems] == ["api", "mac"]
    assert refused.value.problems[1].reason == "the variable GUARD_MAC is not set"
    assert refused.value.problems[1].remedy == "start penstock with GUARD_MAC set"


def test_a_variable_that_is_no_utf8_is_refused(folder: Path) -> None:
    with pytest.raises(SecretError, match="the variable GUARD_MAC does not hold UTF-8 text"):
        vault(GUARD_MAC="\udcff").read(plan_of(folder))


def test_only_what_a_plugin_is_handed_is_read(folder: Path) -> None:
    """`spare` is declared and its file is not there."""
    assert set(vault().read(plan_of(folder))) == {"api", "mac"}
    assert vault().read(plan_of(folder), ["plain"]) == {}


def test_a_profile_may_take_a_secret_from_elsewhere(folder: Path) -> None:
    (folder / "keys" / "dev").write_text("of dev")
    assert vault().read(plan_of(folder, "dev"))["api"].reveal() == "of dev"


# What is handed over.


def test_the_table_has_the_values_by_the_names_of_the_plugin(folder: Path) -> None:
    plan = plan_of(folder)
    handed = vault().hand_over(plan)
    keyed = handed["keyed"]
    assert list(keyed.table.values()) == [
        {"with": {"word": "one"}, "secrets": {"token": MARKER, "mac": "a mac"}},
        {"with": {"word": "two"}, "secrets": {"token": MARKER, "mac": "a mac"}},
    ]
    assert set(keyed.ids) == set(plan.plugins["keyed"].configs) and set(keyed.ids.values()) == set(keyed.table)
    (config,) = plan.plugins["plain"].configs
    assert handed["plain"].ids == {config: config}, "without secrets nothing is renamed"
    assert handed["plain"].table == {config: {"with": {}, "secrets": {}}}


def test_ids_change_with_the_value_the_configuration_and_the_key_and_with_nothing_else(folder: Path) -> None:
    plan = plan_of(folder)
    first = vault().hand_over(plan)["keyed"].ids
    assert vault().hand_over(plan_of(folder))["keyed"].ids == first
    assert len(set(first.values())) == 2
    others = [
        vault(GUARD_MAC="another"),
        vault(b"K" * 32),
        Vault({"GUARD_MAC": "a mac"}),
        Vault({"GUARD_MAC": "a mac"}),
    ]
    seen = set(first.values())
    for other in others:
        ids = set(other.hand_over(plan)["keyed"].ids.values())
        assert len(ids) == 2 and not ids & seen
        seen |= ids


def test_two_secrets_are_not_taken_for_one_another(folder: Path) -> None:
    """What ends one value and what begins the next must not run together."""
    (folder / "keys" / "api").write_text('x", "mac", "y')
    first = vault(GUARD_MAC="z").hand_over(plan_of(folder))["keyed"].ids
    (folder / "keys" / "api").write_text("x")
    assert first != vault(GUARD_MAC='y", "mac", "z').hand_over(plan_of(folder))["keyed"].ids


def test_a_plan_knows_nothing_of_values(folder: Path) -> None:
    before = plan_of(folder)
    (folder / "keys" / "api").write_text("another")
    assert repr(plan_of(folder).plugins) == repr(before.plugins) and MARKER not in repr(before)
    assert not any(MARKER.encode() in data for data in load(folder).archive.files.values())


def test_the_files_to_watch_are_those_of_secrets_that_are_handed_to_somebody(folder: Path) -> None:
    assert secret_files(plan_of(folder)) == (folder / "keys" / "api",)


def test_no_worker_sees_the_variable_that_holds_a_secret(folder: Path) -> None:
    """Whatever a manifest wants passed on."""
    assert without_secrets(plan_of(folder), {"GUARD_MAC": "x", "PATH": "/bin"}) == {"PATH": "/bin"}


# What is printed.


def test_a_secret_is_silent_however_it_is_printed(folder: Path) -> None:
    secret = Secret(MARKER)
    handed = vault().hand_over(plan_of(folder))
    shown = [f"{secret}", f"{secret!r}", "%s" % secret, f"{handed}", f"{handed['keyed'].table}", f"{[secret]}"]  # noqa: UP031
    assert not any(MARKER in text for text in shown)
    assert secret.reveal() == MARKER and secret == Secret(MARKER) and secret != Secret("x")
    with pytest.raises(TypeError):
        hash(secret)
    for copier in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not written down"):
            copier(secret)
