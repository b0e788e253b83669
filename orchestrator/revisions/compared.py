"""Two revisions side by side: what the later one changed, and the lines that differ of its files and its plugins."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from orchestrator.revisions.archive import ArchivedRevision
from orchestrator.revisions.history import History, NoSuchRevision

__all__ = ["compared"]

MAX_DIFFED_BYTES = 256 * 1024
"""A file of a plugin that is larger is data; that it differs is told, and how large it is."""

NO_TEXT = "(no text, or too long to show)"

MAX_DIFF_LINES = 2000
"""Word lists may be long; what differs beyond this is not read by anybody."""


def compared(history: History, number: int, other: int | None) -> dict[str, object]:
    """What is different in revision `number` from `other`, or from what served before it. Blocks.

    `change` is what was noted when it was put into service; it is null where another one was asked for. Raises
    NoSuchRevision.
    """
    entry = history.entry(number)
    if entry is None:
        known = ", ".join(map(str, history.served()[-10:])) or "none"
        raise NoSuchRevision(f"there is no revision {number}; the latest are {known}")
    before = entry.after if other is None else other
    lines = list(_differing(history.archive(before) if before else None, history.archive(number)))
    return {
        "number": number,
        "other": before,
        "change": dict(entry.change) if other is None else None,
        "files": lines[:MAX_DIFF_LINES],
        "lines_left_out": max(0, len(lines) - MAX_DIFF_LINES),
    }


def _differing(before: ArchivedRevision | None, after: ArchivedRevision) -> Iterator[str]:
    yield from _files_differing(before, after)
    for name, now in sorted(after.plan.plugins.items()):
        was = None if before is None else before.plan.plugins.get(name)
        if was is not None and was.digest != now.digest:
            shown = os.path.relpath(now.source, os.path.dirname(after.plan.path))
            yield from _folders_differing(Path(was.snapshot), Path(now.snapshot), shown)


def _folders_differing(before: Path, after: Path, shown: str) -> Iterator[str]:
    """The files of two snapshots; nothing where the store has one of them no more."""
    if not before.is_dir() or not after.is_dir():
        return
    paths = (path.relative_to(side) for side in (before, after) for path in side.rglob("*") if path.is_file())
    for path in sorted(set(paths)):
        was, now = _text(before / path), _text(after / path)
        if was != now:
            yield from _lines_differing(was, now, f"{shown}/{path}")


def _text(path: Path) -> bytes | None:
    """What a file holds, as far as it is for the eye; None where there is none."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_DIFFED_BYTES + 1)
    except OSError:
        return None
    is_text = len(content) <= MAX_DIFFED_BYTES and b"\0" not in content
    return content if is_text else f"{NO_TEXT}, {path.stat().st_size} bytes".encode()


def _files_differing(before: ArchivedRevision | None, after: ArchivedRevision) -> Iterator[str]:
    old = {} if before is None else before.plan.files
    new = after.plan.files
    beside = os.path.dirname(after.plan.path)
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        yield from _lines_differing(was, now, os.path.relpath(name, beside))


def _lines_differing(was: bytes | None, now: bytes | None, shown: str) -> Iterator[str]:
    yield from difflib.unified_diff(
        _lines(was),
        _lines(now),
        "nothing" if was is None else shown,
        "nothing" if now is None else shown,
        lineterm="",
    )


def _lines(content: bytes | None) -> list[str]:
    return (content or b"").decode("utf-8", "replace").splitlines()
