"""Two revisions side by side: the lines of their files and of their plugins, as far as the store has these."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from orchestrator.revisions.archive import ArchivedPlan, ArchivedPlugin, ArchivedRevision
from orchestrator.revisions.compared import MAX_DIFFED_BYTES, compared
from orchestrator.revisions.history import Entry, History, Outcome


def archive(folder: Path, digest: str, text: bytes) -> bytes:
    """A revision whose plugin lies in the store under a digest."""
    plugin = ArchivedPlugin(
        source=str(folder / "guard"),
        script=None,
        plugin="guard",
        snapshot=str(folder / "store" / digest),
        environment=None,
        python="/usr/bin/python3",
        fingerprint=None,
        digest=digest,
        data=None,
    )
    file = str(folder / "pipeline.yaml")
    plan = ArchivedPlan(file, None, {file: text}, {"guard": plugin})
    return msgspec.msgpack.encode(ArchivedRevision(plan, {}))


def history(folder: Path) -> History:
    """Two revisions, of which the second changed the file and three files of the plugin."""
    for digest, files in {
        "one": {"plugin.py": b"one\nsame\n", "model.bin": b"\0" * 10, "gone.txt": b"gone\n", "kept.py": b"kept\n"},
        "two": {"plugin.py": b"two\nsame\n", "model.bin": b"\0" * 20, "kept.py": b"kept\n", "big": b"x" * 2**20},
    }.items():
        (folder / "store" / digest).mkdir(parents=True)
        for name, content in files.items():
            (folder / "store" / digest / name).write_bytes(content)
    history = History(None)
    for number, (digest, text) in enumerate((("one", b"a: 1\n"), ("two", b"a: 2\n")), 1):
        history.keep(number, archive(folder, digest, text))
        history.add(Entry(at=1.0, by="watcher", outcome=Outcome.APPLIED, number=number, after=number - 1))
    return history


def test_the_lines_of_files_and_of_plugins_are_told(tmp_path: Path) -> None:
    lines = compared(history(tmp_path), 2, None)["files"]
    assert isinstance(lines, list)
    assert [line for line in lines if line[:1] in "+-"] == [
        "--- pipeline.yaml",
        "+++ pipeline.yaml",
        "-a: 1",
        "+a: 2",
        "--- nothing",
        "+++ guard/big",
        f"+(no text, or too long to show), {2**20} bytes",
        "--- guard/gone.txt",
        "+++ nothing",
        "-gone",
        "--- guard/model.bin",
        "+++ guard/model.bin",
        "-(no text, or too long to show), 10 bytes",
        "+(no text, or too long to show), 20 bytes",
        "--- guard/plugin.py",
        "+++ guard/plugin.py",
        "-one",
        "+two",
    ]
    assert MAX_DIFFED_BYTES < 2**20


def test_what_the_store_has_no_more_is_left_out(tmp_path: Path) -> None:
    kept = history(tmp_path)
    shutil.rmtree(tmp_path / "store" / "one")
    lines = compared(kept, 2, 1)["files"]
    assert isinstance(lines, list)
    assert {line for line in lines if line.startswith(("---", "+++"))} == {"--- pipeline.yaml", "+++ pipeline.yaml"}
