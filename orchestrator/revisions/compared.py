"""Two revisions side by side: what the later one changed, and the lines of the files that differ."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator

from orchestrator.revisions.archive import ArchivedRevision
from orchestrator.revisions.history import History, NoSuchRevision

__all__ = ["compared"]

MAX_DIFF_LINES = 2000
"""Word lists may be long; what differs beyond this is not read by anybody."""


def compared(history: History, number: int, other: int | None) -> dict[str, object]:
    """What is different in revision `number` from `other`, or from what served before it. Raises NoSuchRevision.

    `change` is what was noted when it was put into service; it is null where another one was asked for.
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
    old = {} if before is None else before.plan.files
    new = after.plan.files
    beside = os.path.dirname(after.plan.path)
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        shown = os.path.relpath(name, beside)
        yield from difflib.unified_diff(
            _lines(was),
            _lines(now),
            "nothing" if was is None else shown,
            "nothing" if now is None else shown,
            lineterm="",
        )


def _lines(content: bytes | None) -> list[str]:
    return (content or b"").decode("utf-8", "replace").splitlines()
