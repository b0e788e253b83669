"""A preview says what `prepare` then makes, and makes nothing of it. Real uv, real files."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path

import pytest
from wheelhouse import DISTRIBUTIONS, Index, Project, wheel

from isolation.errors import EnvironmentBuildError
from isolation.manifest import read_manifest
from isolation.store.preview import Preview, versions_of
from isolation.store.store import PreparationErrors, Prepared, Store


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder: what it is, what is in it, and when it was changed last."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        about = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(about.st_mode) else ""
        found[str(path.relative_to(folder))] = (about.st_mode, about.st_mtime_ns, about.st_ino, content)
    return found


def previewed(store: Store, source: Path, extras: tuple[str, ...] | None = None) -> tuple[Preview, Prepared]:
    """Preview a plugin and then prepare it; prove on the way that the preview made and changed nothing."""
    manifest = read_manifest(source)
    folder = source if source.is_dir() else source.parent
    before = state(folder)
    have = set(store_entries(store))
    preview = store.preview(manifest, extras)
    assert state(folder) == before
    assert set(store_entries(store)) == have
    prepared = store.prepare(manifest, extras)
    assert (preview.fingerprint, preview.digest) == (prepared.fingerprint, prepared.digest)
    assert (preview.plugin, preview.python) == (prepared.plugin, prepared.python)
    return preview, prepared


def store_entries(store: Store) -> list[str]:
    """What a store holds of environments, snapshots, leases and work in progress."""
    return [
        f"{name}/{each}"
        for name in ("environments", "snapshots", "building", "leases")
        for each in os.listdir(store.root / name)
    ]


def test_a_project_without_a_lock(store: Store, project: Project) -> None:
    preview, _ = previewed(store, project("one", "beta", "alpha<2"))
    assert preview.locked == {"alpha": "1.0", "beta": "1.0"}
    assert not preview.environment_ready and not preview.snapshot_ready


def test_a_project_with_a_lock(store: Store, project: Project) -> None:
    folder = project("one", "alpha")
    store.lock(read_manifest(folder))
    preview, _ = previewed(store, folder)
    assert preview.locked == {"alpha": "2.0"}


def test_what_was_prepared_before_is_there_already(store: Store, project: Project) -> None:
    folder = project("one", "alpha")
    store.prepare(read_manifest(folder))
    preview, _ = previewed(store, folder)
    assert preview.environment_ready and preview.snapshot_ready
    (folder / "plugin.py").write_text("plugin = 1\n")
    preview, _ = previewed(store, folder)
    assert preview.environment_ready and not preview.snapshot_ready


def test_a_damaged_environment_is_not_there(store: Store, project: Project) -> None:
    folder = project("one", "alpha")
    prepared = store.prepare(read_manifest(folder))
    assert prepared.environment is not None
    for seal in prepared.environment.glob("*seal*"):
        seal.unlink()
    assert not store.preview(read_manifest(folder)).environment_ready


@pytest.mark.parametrize("locked", [False, True])
def test_requirements(store: Store, project: Project, locked: bool) -> None:
    folder = project("words", files={"requirements.txt": "beta # comment\nalpha<2\n"})
    (folder / "pyproject.toml").write_text("[tool.penstock.stages.mask]\n")
    if locked:
        store.lock(read_manifest(folder))
    preview, _ = previewed(store, folder)
    assert preview.locked == {"alpha": "1.0", "beta": "1.0"}


@pytest.mark.parametrize("locked", [False, True])
def test_a_single_file(store: Store, tmp_path: Path, locked: bool) -> None:
    file = tmp_path / "alone" / "one.py"
    file.parent.mkdir()
    file.write_text('# /// script\n# dependencies = ["alpha<2"]\n# [tool.penstock.stages.mask]\n# ///\n')
    if locked:
        store.lock(read_manifest(file))
    preview, _ = previewed(store, file)
    assert preview.locked == {"alpha": "1.0"}


def test_extras(store: Store, project: Project) -> None:
    head = '[project.optional-dependencies]\nmore = ["beta"]\n'
    folder = project("one", "alpha<2", head=head)
    without, _ = previewed(store, folder)
    preview, _ = previewed(store, folder, ("more",))
    assert preview.locked == {"alpha": "1.0", "beta": "1.0"}
    assert preview.fingerprint != without.fingerprint
    with pytest.raises(EnvironmentBuildError, match="has no extra less"):
        store.preview(read_manifest(folder), ("less",))


def test_a_plugin_without_requirements(store: Store, project: Project) -> None:
    preview, _ = previewed(store, project("bare"))
    assert preview.locked == {}
    assert preview.fingerprint is not None


def test_a_command_without_requirements_needs_no_environment(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "plugins" / "filter"
    folder.mkdir(parents=True)
    (folder / "filter").write_text("#!/bin/sh\n")
    (folder / "filter").chmod(0o755)
    (folder / "pyproject.toml").write_text(
        '[tool.penstock]\nname = "filter"\nversion = "1.0"\ncommand = ["./filter"]\n[tool.penstock.stages.mask]\n'
    )
    preview, _ = previewed(store, folder)
    assert preview.fingerprint is None
    assert preview.environment_ready
    assert preview.python == Path(os.path.realpath(sys.executable))


def test_the_lock_that_was_shown_is_the_one_that_is_used(
    variables: dict[str, str], project: Project, tmp_path: Path
) -> None:
    """Something newer is published between a preview and what follows: nothing else than what was shown is taken."""
    published = [each for each in DISTRIBUTIONS if not each[0].startswith("alpha-2")]
    folder = project("one", "alpha")
    manifest = read_manifest(folder)
    with Index(published) as old, Store(tmp_path / "store", environment=_at(variables, old, tmp_path)) as store:
        preview = store.preview(manifest)
        old.publish(wheel("alpha", "2.0", "value = 2\n"))
        assert store.preview(manifest) == preview
        assert store.prepare(manifest).digest == preview.digest
    assert preview.locked == {"alpha": "1.0"}


def test_other_requirements_than_those_that_were_shown_are_resolved_anew(store: Store, project: Project) -> None:
    folder = project("one", "alpha<2")
    store.preview(read_manifest(folder))
    project("one", "alpha")
    preview, _ = previewed(store, folder)
    assert preview.locked == {"alpha": "2.0"}


def test_a_plugin_that_cannot_be_resolved_is_refused_and_stays_as_it_is(store: Store, project: Project) -> None:
    folder = project("one", "nowhere")
    before = state(folder)
    with pytest.raises(EnvironmentBuildError, match="nowhere"):
        store.preview(read_manifest(folder))
    assert state(folder) == before
    assert not list((store.root / "building").iterdir())


def test_a_stale_lock_is_refused_as_prepare_does(store: Store, project: Project) -> None:
    folder = project("one", "alpha<2")
    store.lock(read_manifest(folder))
    project("one", "alpha<2", "beta")
    manifest = read_manifest(folder)
    with pytest.raises(EnvironmentBuildError) as preview:
        store.preview(manifest)
    with pytest.raises(EnvironmentBuildError) as prepare:
        store.prepare(manifest)
    assert preview.value.message == prepare.value.message


def test_where_locks_are_asked_for_none_is_made_up(variables: dict[str, str], project: Project, tmp_path: Path) -> None:
    with (
        Store(tmp_path / "store", locked=True, environment=variables) as store,
        pytest.raises(EnvironmentBuildError, match="--locked does not make one"),
    ):
        store.preview(read_manifest(project("one", "alpha")))


def test_several_are_previewed_in_the_order_asked_and_fail_together(store: Store, project: Project) -> None:
    fine = [(read_manifest(project(name, "alpha")), None) for name in ("one", "two", "three")]
    assert [preview.plugin for preview in store.preview_all(fine)] == ["one", "two", "three"]
    wrong = [(read_manifest(project(name, "nowhere")), None) for name in ("four", "five")]
    with pytest.raises(PreparationErrors, match="2 plugins could not be prepared"):
        store.preview_all([*fine, *wrong])


def test_a_generation_describes_itself_as_it_was_previewed(store: Store, project: Project) -> None:
    folder = project("one", "beta", "alpha<2")
    preview, prepared = previewed(store, folder)
    (folder / "plugin.py").write_text("plugin = 1\n")
    described = store.describe(prepared)
    assert (described.environment_ready, described.snapshot_ready) == (True, True)
    for name in ("plugin", "fingerprint", "digest", "python", "locked"):
        assert getattr(described, name) == getattr(preview, name)


def test_several_versions_of_one_name_are_all_told() -> None:
    assert versions_of([("b", "1"), ("a", "2"), ("a", "1"), ("a", "1")]) == {"a": "1, 2", "b": "1"}


def _at(variables: dict[str, str], index: Index, folder: Path) -> dict[str, str]:
    return variables | {"UV_DEFAULT_INDEX": index.url, "UV_CACHE_DIR": str(folder / "cache")}
