"""What was changed between two revisions, in a line for each: for people who ask why a run came out otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.revisions.history import IN_SERVICE, Entry, History

__all__ = ["changes_between"]

MAX_LINES = 20
"""Whoever needs more asks `penstock diff`."""


def changes_between(history: History, one: int, other: int) -> list[str]:
    """The changes that lead from the earlier of two revisions to the later, the latest first."""
    low, high = sorted((one, other))
    entries = [entry for entry in history.entries if low < entry.number <= high and entry.outcome in IN_SERVICE]
    lines = [line for entry in reversed(entries) for line in _lines(entry)]
    left = len(lines) - MAX_LINES
    return lines[:MAX_LINES] + ([f"{left} more; `penstock history` has them all"] if left > 0 else [])


def _lines(entry: Entry) -> Iterator[str]:
    commit = f", commit {entry.commit}" if entry.commit else ""
    again = f", revision {entry.of} again" if entry.of not in (0, entry.number) else ""
    yield f"revision {entry.number} by {entry.by}{commit}{again}"
    actions = entry.change.get("plugins")
    if isinstance(actions, Mapping):
        yield from (f"  plugin {name}: {action}" for name, action in actions.items() if action != "keep")
    for kind in ("stages", "pipelines"):
        differing = entry.change.get(kind)
        for one in differing if isinstance(differing, list | tuple) else ():
            if isinstance(one, Mapping):
                yield f"  {kind[:-1]} {one.get(kind[:-1])}: {one.get('kind')}{_what(one.get('what'))}"


def _what(differences: object) -> str:
    return f" ({', '.join(map(str, differences))})" if isinstance(differences, Mapping) and differences else ""
