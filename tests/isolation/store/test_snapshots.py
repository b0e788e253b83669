"""Snapshots: one consistent state of a folder, read-only, named by its content, repaired when damaged."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from wheelhouse import Project

from isolation.errors import EnvironmentBuildError
from isolation.manifest import read_manifest
from isolation.store.folder import MAX_BYTES, MAX_FILES
from isolation.store.places import default_state_root
from isolation.store.store import Store


def refusal(store: Store, folder: Path) -> str:
    with pytest.raises(EnvironmentBuildError) as caught:
        store.prepare(read_manifest(folder))
    return caught.value.message


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_a_later_edit_does_not_reach_a_snapshot(store: Store, project: Project) -> None:
    folder = project("one", files={"words.txt": "old"})
    before = store.prepare(read_manifest(folder))
    (folder / "words.txt").write_text("new")
    after = store.prepare(read_manifest(folder))
    assert (before.snapshot / "words.txt").read_text() == "old"
    assert (after.snapshot / "words.txt").read_text() == "new"
    assert before.digest != after.digest
    assert before.fingerprint == after.fingerprint


def test_the_same_files_have_the_same_digest_whenever_they_were_written(store: Store, project: Project) -> None:
    folder = project("one", files={"words.txt": "same"})
    before = store.prepare(read_manifest(folder))
    os.utime(folder / "words.txt", (1, 1))
    assert store.prepare(read_manifest(folder)) == before


def test_making_a_file_executable_is_a_new_generation(store: Store, project: Project) -> None:
    folder = project("one", files={"run": "#!/bin/sh\n"})
    before = store.prepare(read_manifest(folder))
    (folder / "run").chmod(0o755)
    after = store.prepare(read_manifest(folder))
    assert after.digest != before.digest
    assert after.snapshot.joinpath("run").stat().st_mode & 0o777 == 0o555


def test_other_limits_are_a_new_generation_although_the_code_is_the_same(store: Store, project: Project) -> None:
    before = store.prepare(read_manifest(project("one")))
    after = store.prepare(read_manifest(project("one", table='limits = { memory = "1GiB" }')))
    assert after.digest != before.digest


def test_a_snapshot_is_read_only(store: Store, project: Project) -> None:
    snapshot = store.prepare(read_manifest(project("one", files={"deep/er/x.txt": "x"}))).snapshot
    assert [path for path in (snapshot, *snapshot.rglob("*")) if path.stat().st_mode & 0o222] == []


def test_what_no_worker_reads_is_left_out(store: Store, project: Project) -> None:
    litter = [
        ".git/config",
        ".venv/bin/x",
        "__pycache__/a.pyc",
        "pkg/__pycache__/b.pyc",
        ".mypy_cache/x",
        "tests/test_a.py",
    ]
    litter += ["plugin.py~", ".plugin.py.swp", "wheels/a.whl", "env/pyvenv.cfg", "env/lib/x.py"]
    kept = ["pkg/tests/data.txt", "node_modules/x.js", ".hidden"]
    folder = project("one", files=dict.fromkeys([*litter, *kept], "x"))
    snapshot = store.prepare(read_manifest(folder)).snapshot
    assert names(snapshot) == {"pyproject.toml", "plugin.py", *kept}


def test_links_inside_the_folder_are_kept(store: Store, project: Project) -> None:
    folder = project("one", files={"deep/data.txt": "x"})
    (folder / "relative").symlink_to("deep/data.txt")
    (folder / "deep" / "absolute").symlink_to(folder / "plugin.py")
    snapshot = store.prepare(read_manifest(folder)).snapshot
    assert (snapshot / "relative").readlink() == Path("deep/data.txt")
    assert (snapshot / "deep" / "absolute").resolve() == snapshot / "plugin.py"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/etc/hostname", "the link 'link' leaves the plugin's folder"),
        ("../../outside", "the link 'link' leads nowhere"),
        (".git", "the link 'link' leads to '.git', which is no part of a snapshot"),
    ],
)
def test_links_that_would_break_in_a_snapshot_are_refused(
    store: Store, project: Project, target: str, message: str
) -> None:
    folder = project("one", files={".git/config": "x"})
    (folder / "link").symlink_to(target)
    assert message in refusal(store, folder)


def test_a_pipe_in_the_folder_is_refused_instead_of_waited_for(store: Store, project: Project) -> None:
    folder = project("one")
    os.mkfifo(folder / "pipe")
    assert "'pipe' is neither a file, a folder nor a link" in refusal(store, folder)


def test_a_folder_that_is_too_large_is_refused_with_its_largest_file(store: Store, project: Project) -> None:
    folder = project("one")
    with (folder / "model.bin").open("wb") as stream:
        stream.truncate(MAX_BYTES)
    assert "its largest file is model.bin" in refusal(store, folder)


def test_a_folder_with_too_many_files_is_refused(store: Store, project: Project) -> None:
    folder = project("one")
    for number in range(MAX_FILES):
        (folder / str(number)).touch()
    assert f"more than {MAX_FILES} files" in refusal(store, folder)


def test_a_damaged_snapshot_is_repaired(store: Store, project: Project) -> None:
    folder = project("one", files={"words.txt": "right"})
    snapshot = store.prepare(read_manifest(folder)).snapshot
    snapshot.chmod(0o700)
    (snapshot / "words.txt").unlink()
    (snapshot / "words.txt").write_text("wrong")
    assert store.prepare(read_manifest(folder)).snapshot == snapshot
    assert (snapshot / "words.txt").read_text() == "right"


def test_half_saved_edits_are_never_mixed(store: Store, project: Project) -> None:
    """A writer saves `first`, then `second`, with the same number; a state with `second` ahead never existed."""
    between = {f"middle/{number}": "x" * 10_000 for number in range(100)}
    folder = project("one", files={"first": "0", "second": "0", **between})
    manifest = read_manifest(folder)
    done, breath = threading.Event(), threading.Event()
    seen: list[Path] = []

    def save(name: str, text: str) -> None:
        (folder / f".{name}.swp").write_text(text)
        (folder / f".{name}.swp").rename(folder / name)

    def edit() -> None:
        number, had, rest_seconds = 0, 0, 0.0
        while not done.is_set():
            for _ in range(20):
                number += 1
                save("first", str(number))
                save("second", str(number))
            # Rests longer and longer until a snapshot was had: how long one takes is the machine's affair.
            rest_seconds = 0.1 if len(seen) > had else rest_seconds * 1.3 + 0.03
            had = len(seen)
            breath.wait(rest_seconds)

    writer = threading.Thread(target=edit)
    writer.start()
    try:
        for _ in range(6):
            seen += [store.prepare(manifest).snapshot]
    finally:
        done.set()
        writer.join()
    ahead = [int((snapshot / "first").read_text()) - int((snapshot / "second").read_text()) for snapshot in seen]
    assert set(ahead) <= {0, 1}


def test_a_plugin_that_asks_for_a_directory_keeps_it_through_every_change(store: Store, project: Project) -> None:
    folder = project("one", table="data = true")
    before = store.prepare(read_manifest(folder))
    assert before.data is not None
    assert before.data.stat().st_mode & 0o777 == 0o700
    (before.data / "kept").write_text("something")
    (folder / "plugin.py").write_text("plugin = 1\n")
    after = store.prepare(read_manifest(folder))
    assert after.digest != before.digest
    assert after.data == before.data
    store.gc()
    assert (before.data / "kept").read_text() == "something"


def test_what_a_plugin_keeps_is_no_part_of_the_store(store: Store, project: Project) -> None:
    """A store is a cache, which anybody may clear."""
    data = store.prepare(read_manifest(project("one", table="data = true"))).data
    assert data is not None and data.parent == default_state_root() / "data"
    assert not data.is_relative_to(store.root)


def test_a_directory_that_cannot_be_made_is_told_with_the_variable(project: Project, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    manifest = read_manifest(project("one", table="data = true"))
    with (
        Store(tmp_path / "own", data=tmp_path / "taken" / "data") as store,
        pytest.raises(EnvironmentBuildError, match="its private directory") as refused,
    ):
        store.prepare(manifest)
    assert refused.value.hint == "PENSTOCK_STATE names another folder"


def test_plugins_of_one_name_have_directories_of_their_own(store: Store, project: Project, tmp_path: Path) -> None:
    first = store.prepare(read_manifest(project("one", table="data = true"))).data
    (tmp_path / "plugins").rename(tmp_path / "elsewhere")
    assert store.prepare(read_manifest(tmp_path / "elsewhere" / "one")).data != first
    assert store.prepare(read_manifest(project("two"))).data is None


def test_a_name_does_not_lead_a_plugin_s_directory_out_of_the_store(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "plugin.py").write_text("plugin = None\n")
    table = '[tool.penstock]\nname = "../../outside"\ndata = true\n[tool.penstock.stages.mask]\n'
    (folder / "pyproject.toml").write_text(table)
    data = store.prepare(read_manifest(folder)).data
    assert data is not None
    assert data.resolve().parent == default_state_root() / "data"
