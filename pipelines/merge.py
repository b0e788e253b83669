"""Changes of JSON objects: what a stage wrote, RFC 7396 patches, and the join of what several stages wrote.

A write is a path and what stands there afterwards. Objects merge by member, arrays are atomic, a deletion is a write.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.declaration import Path

__all__ = ["Contribution", "MergeConflict", "Writes", "apply_patch", "diff", "first_outside", "join", "same"]


class _Mark(enum.Enum):
    ABSENT = "absent"
    OBJECT = "object"


ABSENT: Final = _Mark.ABSENT
"""The member is gone."""

OBJECT: Final = _Mark.OBJECT
"""An object stands here now where none stood; its members are writes of their own."""

Writes = Mapping[Path, object]


class MergeConflict(Exception):
    """Two stages that do not need each other wrote one place differently. `stages` are their indices."""

    code = "penstock.merge_conflict"
    hint = "order the two stages with `needs`, or declare in their manifests what each `writes`"

    def __init__(self, path: Path, stages: tuple[int, int]) -> None:
        super().__init__(".".join(path))
        self.path = path
        self.stages = stages


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one stage wrote. `ancestors` has the bit `1 << index` of every stage that it could see."""

    stage: int
    ancestors: int
    writes: Writes


def same(left: object, right: object) -> bool:
    """Whether two JSON values are alike; `1`, `1.0` and `true` are three values."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def diff(before: Mapping[str, object], after: Mapping[str, object]) -> dict[Path, object]:
    """List the writes that turn `before` into `after`."""
    writes: dict[Path, object] = {}
    _diff_members((), before, after, writes)
    return writes


def _diff_members(
    path: Path, before: Mapping[str, object], after: Mapping[str, object], out: dict[Path, object]
) -> None:
    for key in before:
        if key not in after:
            out[(*path, key)] = ABSENT
    for key, value in after.items():
        here = (*path, key)
        old = before.get(key, ABSENT)
        if isinstance(value, dict):
            if isinstance(old, dict):
                _diff_members(here, old, value, out)
            else:
                out[here] = OBJECT
                _diff_members(here, {}, value, out)
        elif not same(old, value):
            out[here] = value


def apply_patch(target: object, patch: object) -> object:
    """Apply a JSON Merge Patch (RFC 7396 section 2) without touching `target`."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_patch(result.get(key), value)
    return result


def first_outside(writes: Writes, allowed: Sequence[Path], before: Mapping[str, object]) -> Path | None:
    """Return a path written over `before` that no path of `allowed` covers, None when all are covered.

    An object that leads to an allowed path may be made where nothing, or null, stood.
    """
    for path, value in writes.items():
        if any(path[: len(root)] == root for root in allowed):
            continue
        leads_there = value is OBJECT and any(root[: len(path)] == path for root in allowed)
        if not leads_there or _at(before, path) is not None:
            return path
    return None


def _at(root: object, path: Path) -> object:
    for key in path:
        root = root.get(key) if isinstance(root, dict) else None
    return root


def join(base: Mapping[str, object], contributions: Sequence[Contribution]) -> dict[str, object]:
    """Lay the writes of several stages, given in topological order, over `base`. Raises MergeConflict."""
    live = [Contribution(one.stage, one.ancestors, _not_overridden(one, contributions)) for one in contributions]
    for place, left in enumerate(live):
        for right in live[place + 1 :]:
            if not right.ancestors >> left.stage & 1:
                _compare(left, right, live)
                _compare(right, left, live)
    writes = {path: value for one in live for path, value in one.writes.items()}
    result = dict(base)
    fresh = {id(result)}
    # From the root down: a new object replaces what stood there before its own members are set.
    for path in sorted(writes, key=len):
        _set(result, path, writes[path], fresh)
    return result


def _not_overridden(one: Contribution, others: Sequence[Contribution]) -> Writes:
    later = [other.writes for other in others if other.ancestors >> one.stage & 1]
    if not later:
        return one.writes
    return {
        path: value
        for path, value in one.writes.items()
        if not any(path[:length] in writes for writes in later for length in range(1, len(path) + 1))
    }


def _compare(one: Contribution, other: Contribution, live: Sequence[Contribution]) -> None:
    for path, value in one.writes.items():
        if path in other.writes and not same(other.writes[path], value):
            raise MergeConflict(path, _pair(one, other))
        for length in range(1, len(path)):
            above = path[:length]
            if above in other.writes and not (other.writes[above] is OBJECT and _saw_object(one, above, live)):
                raise MergeConflict(above, _pair(one, other))


def _saw_object(one: Contribution, path: Path, live: Sequence[Contribution]) -> bool:
    """Whether the object at `path` that `one` wrote into is a new one too, of its own or of a stage it could see."""
    return any(
        other.writes.get(path) is OBJECT
        for other in live
        if other.stage == one.stage or one.ancestors >> other.stage & 1
    )


def _pair(one: Contribution, other: Contribution) -> tuple[int, int]:
    return min(one.stage, other.stage), max(one.stage, other.stage)


def _set(root: dict[str, object], path: Path, value: object, fresh: set[int]) -> None:
    here = root
    for key in path[:-1]:
        below = here.get(key)
        if not isinstance(below, dict):
            below = {}
        if id(below) not in fresh:
            below = dict(below)
            fresh.add(id(below))
        here[key] = below
        here = below
    last = path[-1]
    if value is ABSENT:
        here.pop(last, None)
    elif value is OBJECT:
        new = here[last] = dict[str, object]()
        fresh.add(id(new))
    else:
        here[last] = value
