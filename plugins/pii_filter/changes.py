"""How a change is answered: the smallest merge patch for values, the whole payload when members get new names.

The same file lies in `search_replace` and `pii_filter`; a test of the project holds the copies equal. The payload
that came in is never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from texts import Key

__all__ = ["patched", "renamed"]


def patched(payload: Mapping[str, object], changes: Iterable[tuple[Sequence[Key], object]]) -> dict[str, object]:
    """Build the smallest merge patch (RFC 7396) that puts each value at its path.

    Objects on the way hold only what changes; an array is atomic in a merge patch, so the outermost one is copied.
    """
    patch: dict[str, object] = {}
    for path, new in changes:
        source: Any = payload  # the path was walked in this very payload
        target: Any = patch
        in_array = False
        for key in path[:-1]:
            child = source[key]
            if in_array:
                if target[key] is child:
                    target[key] = child.copy()
            elif key not in target:
                target[key] = {} if isinstance(child, dict) else child.copy()
            in_array = in_array or isinstance(child, list)
            source, target = child, target[key]
        target[path[-1]] = new
    return patch


def renamed(
    payload: Mapping[str, object],
    values: Iterable[tuple[Sequence[Key], object]],
    names: Iterable[tuple[Sequence[Key], str]],
) -> dict[str, object]:
    """Build the whole payload with new values and new member names; a name already taken gets a number behind it."""
    whole: dict[str, object] = dict(payload)
    for path, new in values:
        _parent(payload, whole, path)[path[-1]] = new
    # The deepest first, so that the path of every other name still leads to it.
    for path, name in sorted(names, key=lambda item: -len(item[0])):
        owner = _parent(payload, whole, path)
        _rename(owner, path[-1], name)
    return whole


def _parent(payload: Mapping[str, object], whole: dict[str, object], path: Sequence[Key]) -> Any:
    """Copy each container on the way to the last key that is still the payload's own; return the innermost."""
    source: Any = payload
    target: Any = whole
    for key in path[:-1]:
        source = source[key]
        if target[key] is source:
            target[key] = source.copy()
        target = target[key]
    return target


def _rename(owner: dict[str, object], old: str, new: str) -> None:
    """Rename one member in its place, keeping the order of the others."""
    free, number = new, 2
    while free in owner and free != old:
        free, number = f"{new} {number}", number + 1
    members = [(free if key == old else key, value) for key, value in owner.items()]
    owner.clear()
    owner.update(members)
