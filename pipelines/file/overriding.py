"""Stages put into another mode by command, for a while: laid over the file as a profile is, before it is checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.file.tree import Entry, Leaf, Listing, Path, Table, Tree, find
from pipelines.plan import Mode, OnError
from pipelines.problem import Mark, Problem
from pipelines.suggest import nearest

__all__ = ["LAYER", "MAX_SECONDS", "Overridden", "Override", "override"]

LAYER = "override"
"""What set a value that stands in no file."""

MAX_SECONDS = 7 * 86400.0
"""What is to hold for longer than a week belongs into the file."""


@dataclass(frozen=True, slots=True)
class Override:
    """`stage` is PIPELINE/STAGE, or a stage that one pipeline alone has; `until` is in seconds since 1970.

    Of two for one stage the later one holds. When it is over is for others to see: here it holds.
    """

    stage: str
    mode: Mode
    until: float
    reason: str
    by: str

    def __post_init__(self) -> None:
        if self.mode not in (Mode.PERMISSIVE, Mode.DISABLED):
            raise ValueError(f"a stage can be overridden to be permissive or disabled, not {self.mode.value}")
        if not self.reason.strip():
            raise ValueError("an override has a reason")


class Overridden(NamedTuple):
    """A file with overrides: its tree, the reason by pipeline and stage, and what could not be laid over it."""

    root: Table
    reasons: Mapping[tuple[str, str], str]
    problems: tuple[Problem, ...]


def override(root: Table, overrides: Iterable[Override]) -> Overridden:
    """Lay `overrides` over the merged file."""
    stages = _stages(root)
    reasons: dict[tuple[str, str], str] = {}
    problems: list[Problem] = []
    for one in overrides:
        place = _place(root, one.stage, stages, problems)
        if place is not None:
            pipeline, stage = place
            root = _changed(root, ("pipelines", pipeline, "stages", stage), one.mode)
            reasons[place] = one.reason
    return Overridden(root, reasons, tuple(problems))


def _stages(root: Table) -> list[tuple[str, str]]:
    """Every stage that is written as a mapping, with its pipeline."""
    pipelines = root.get("pipelines")
    found = []
    for pipeline, table in pipelines.tables() if isinstance(pipelines, Table) else ():
        stages = table.get("stages")
        found += [(pipeline, stage) for stage, _ in stages.tables()] if isinstance(stages, Table) else []
    return found


def _place(root: Table, written: str, stages: list[tuple[str, str]], problems: list[Problem]) -> tuple[str, str] | None:
    pipeline, slash, stage = written.rpartition("/")
    meant = [place for place in stages if place[1] == stage and (not slash or place[0] == pipeline)]
    if len(meant) == 1:
        return meant[0]
    mark = find(root, ("pipelines",)).key
    if meant:
        known = ", ".join(f"{name}/{stage}" for name, _ in meant)
        problems.append(Problem(mark, "ambiguous-stage", LAYER, f"several pipelines have a stage {stage!r}: {known}"))
        return None
    whole = [f"{name}/{one}" for name, one in stages]
    near = nearest(written, whole if slash else [*{one for _, one in stages}])
    problems.append(Problem(mark, "unknown-stage", LAYER, f"no pipeline has a stage {written!r} to override", near))
    return None


def _changed(root: Table, path: Path, mode: Mode) -> Table:
    """The stage at `path`, and each of its own variants, in another mode."""
    stage = find(root, path).value
    assert isinstance(stage, Table)
    turned = _turned(stage, mode)
    variants = turned.get("overrides")
    if isinstance(variants, Listing):
        items = tuple(_turned(item, mode) if isinstance(item, Table) else item for item in variants.items)
        turned = _with(turned, "overrides", variants._replace(items=items))
    changed = _put(root, path, turned)
    assert isinstance(changed, Table)
    return changed


def _turned(table: Table, mode: Mode) -> Table:
    table = _with(table, "mode", Leaf(mode.value, table.mark, LAYER, raw=mode.value))
    if mode is Mode.PERMISSIVE:
        go_on = OnError.CONTINUE.value
        table = _with(table, "on_error", Leaf(go_on, table.mark, LAYER, raw=go_on))
    return table


def _with(table: Table, key: str, value: Tree) -> Table:
    earlier = table.entries.get(key)
    mark: Mark = table.mark if earlier is None else earlier.mark
    return table._replace(entries={**table.entries, key: Entry(key, mark, value)})


def _put(tree: Tree, path: Path, value: Tree) -> Tree:
    """The tree with another value at a path that it has."""
    if not path:
        return value
    assert isinstance(tree, Table)
    entry = tree.entries[str(path[0])]
    below = entry._replace(value=_put(entry.value, path[1:], value))
    return tree._replace(entries={**tree.entries, entry.key: below})
