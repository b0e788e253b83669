"""The seal of a store entry: which files it must have. Written last, checked whenever the entry is found again.

The check compares size and time of every file and reads none. It finds what crashes, full disks and stray edits do;
it is no defence against somebody who may write in the store. Files that came later (bytecode) do not matter.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from isolation.store.layout import read_json, write_json

__all__ = ["SEAL_NAME", "make_read_only", "read_seal", "write_seal"]

SEAL_NAME = "penstock-seal.json"


def write_seal(entry: Path, facts: Mapping[str, object]) -> None:
    """Note every file of `entry` as it is now, together with `facts`."""
    write_json(entry / SEAL_NAME, {"facts": dict(facts), "files": dict(_files(entry, ""))})


def read_seal(entry: Path) -> Mapping[str, object] | None:
    """Return the facts of an entry that is whole; None when it is missing or damaged."""
    seal = read_json(entry / SEAL_NAME)
    if seal is None:
        return None
    facts, files = seal.get("facts"), seal.get("files")
    if not isinstance(facts, dict) or not isinstance(files, dict):
        return None
    base = str(entry)
    whole = all(_mark(f"{base}/{name}") == mark for name, mark in files.items())
    return facts if whole else None


def make_read_only(folder: Path) -> None:
    """Take the right to write from everything in `folder`, itself last."""
    for path, _, files in os.walk(folder, topdown=False):
        for name in files:
            _without_write(os.path.join(path, name))
        _without_write(path)


def _without_write(path: str) -> None:
    mode = os.lstat(path).st_mode
    if not stat.S_ISLNK(mode):
        os.chmod(path, stat.S_IMODE(mode) & ~0o222)


def _files(folder: Path, prefix: str) -> Iterator[tuple[str, list[int | str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if entry.name in {SEAL_NAME, "__pycache__"}:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path), f"{name}/")
            else:
                mark = _mark(entry.path)
                if mark is not None:
                    yield name, mark


def _mark(path: str) -> list[int | str] | None:
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            # A link that leads nowhere is damage, too: the interpreter behind a venv may have been removed.
            os.stat(path)
            return [os.readlink(path)]
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]
