"""Stages side by side that may write the same place: found here, so that it cannot happen in a run."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.declaration import Path as Place
from pipelines.file.tree import Path
from pipelines.hooks import Hook
from pipelines.lint.draft import Draft
from pipelines.lint.graph import Graph, Settings
from pipelines.lint.uses import Use
from pipelines.plan import Mode

__all__ = ["DROPPED", "check_writes", "common"]

DROPPED = (Mode.AUDIT, Mode.DISABLED)


def check_writes(
    draft: Draft,
    path: Path,
    hook: Hook,
    graph: Graph,
    uses: Mapping[str, Use],
    settings: Mapping[str, tuple[Settings, ...]],
) -> None:
    """Report every pair of unordered stages whose declared writes meet; undeclared ones are left to the run."""
    names = [name for name in uses if any(variant.mode not in DROPPED for variant in settings[name])]
    for i, later in enumerate(names):
        for earlier in names[:i]:
            place = common(_writes(uses[earlier], hook), _writes(uses[later], hook))
            if place is not None and not graph.ordered(earlier, later):
                message = (
                    f"{earlier} also writes {'.'.join(place)}, and neither needs the other: order them with `needs`"
                )
                draft.error((*path, "stages", later, "uses"), "merge-conflict", message)


def _writes(use: Use, hook: Hook) -> tuple[Place, ...]:
    declared = (use.declaration.hooks or {}).get(hook.name) if use.declaration is not None else None
    return () if declared is None or declared.writes is None else declared.writes


def common(left: tuple[Place, ...], right: tuple[Place, ...]) -> Place | None:
    """The deeper of two paths of which one holds the other."""
    for a in left:
        for b in right:
            shorter, longer = sorted((a, b), key=len)
            if longer[: len(shorter)] == shorter:
                return longer
    return None
