"""The graph of one pipeline: needs resolved, circles named, stages ordered, and who may be skipped."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipelines.file.reading import Invalid
from pipelines.file.stages import NeedState, PipelineSpec, StageSpec
from pipelines.file.tree import Path
from pipelines.lint.draft import Draft
from pipelines.plan import Mode, OnError
from pipelines.suggest import nearest

__all__ = ["Graph", "Settings", "draw"]


class Settings(NamedTuple):
    """What a stage does in one of its variants."""

    mode: Mode
    on_error: OnError


class Graph(NamedTuple):
    """Stages in a topological order that keeps the order of the file where it can.

    `skippable` says why a stage may be skipped; a stage that is not in it always runs. `lenient` are those of them
    that are skipped only because an error of a stage that does not enforce is passed over.
    """

    order: tuple[str, ...]
    edges: Mapping[str, tuple[tuple[str, frozenset[NeedState] | None], ...]]
    ancestors: Mapping[str, frozenset[str]]
    skippable: Mapping[str, str]
    lenient: frozenset[str]

    def ordered(self, one: str, other: str) -> bool:
        """Whether one of the two waits for the other."""
        return one in self.ancestors[other] or other in self.ancestors[one]


def draw(draft: Draft, path: Path, spec: PipelineSpec, settings: Mapping[str, Sequence[Settings]]) -> Graph:
    """Build the graph of the pipeline at `path`; needs that make no sense are reported and left out."""
    edges = {name: _needs(draft, (*path, "stages", name), name, stage, spec) for name, stage in spec.stages.items()}
    _break_circles(draft, path, edges)
    order = _order(edges)
    ancestors: dict[str, frozenset[str]] = {}
    for name in order:
        direct = [need for need, _ in edges[name]]
        ancestors[name] = frozenset(direct).union(*(ancestors[need] for need in direct))
    skippable = _skippable(order, edges, spec, settings)
    _warn_unmeetable(draft, path, spec, edges, skippable)
    lenient = frozenset(name for name, why in skippable.items() if why is _PASSED_OVER)
    return Graph(order, {name: tuple(needs) for name, needs in edges.items()}, ancestors, skippable, lenient)


_Edges = dict[str, list[tuple[str, frozenset[NeedState] | None]]]


def _needs(
    draft: Draft, path: Path, name: str, stage: StageSpec, spec: PipelineSpec
) -> list[tuple[str, frozenset[NeedState] | None]]:
    found: dict[str, frozenset[NeedState] | None] = {}
    # Also stages whose own text is wrong: they are there, and to need them is no second mistake.
    written = draft.names((*path[:-1],))
    for i, need in enumerate(stage.needs):
        if isinstance(need, Invalid) or not need.stage:
            continue
        place = _need_path(draft, (*path, "needs", i))
        if need.stage not in written:
            message = f"the pipeline has no stage {need.stage!r}"
            draft.spoil(place, "unknown-stage", message, nearest(need.stage, [w for w in written if w != name]))
        elif need.stage in found:
            draft.error(place, "wrong-value", f"{need.stage!r} is needed twice")
        elif need.stage in spec.stages:
            found[need.stage] = None if need.is_ is None else frozenset(s for s in need.is_ if isinstance(s, NeedState))
    return list(found.items())


def _need_path(draft: Draft, path: Path) -> Path:
    long = (*path, "stage")
    return path if draft.tree(long) is None else long


def _break_circles(draft: Draft, path: Path, edges: _Edges) -> None:
    """Report each circle at the first need that closes it, and leave that need out to find the next."""
    while True:
        try:
            graphlib.TopologicalSorter({name: [n for n, _ in needs] for name, needs in edges.items()}).prepare()
        except graphlib.CycleError as error:
            circle = _from_first(list(reversed(error.args[1]))[:-1], list(edges))
            first, second = circle[0], circle[1 % len(circle)]
            at = next(i for i, (need, _) in enumerate(_written(draft, path, first)) if need == second)
            message = "stages need each other in a circle: " + " needs ".join([*circle, circle[0]])
            place = _need_path(draft, (*path, "stages", first, "needs", at))
            draft.error(place, "cycle", message)
            edges[first] = [(need, states) for need, states in edges[first] if need != second]
        else:
            return


def _written(draft: Draft, path: Path, name: str) -> list[tuple[str, None]]:
    """The needs of a stage as they stand in the file, so that an index there is an index in the text."""
    stage = draft.spec.pipelines[str(path[1])].stages[name]
    return [("" if isinstance(need, Invalid) else need.stage, None) for need in stage.needs]


def _from_first(circle: list[str], order: list[str]) -> list[str]:
    start = min(range(len(circle)), key=lambda i: order.index(circle[i]))
    return circle[start:] + circle[:start]


def _order(edges: _Edges) -> tuple[str, ...]:
    """Kahn's order, always taking the stage that comes first in the file."""
    done: list[str] = []
    left = list(edges)
    while left:
        ready = next(name for name in left if all(need in done for need, _ in edges[name]))
        done.append(ready)
        left.remove(ready)
    return tuple(done)


def _skippable(
    order: Sequence[str], edges: _Edges, spec: PipelineSpec, settings: Mapping[str, Sequence[Settings]]
) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for name in order:
        reason = _why_skipped(spec.stages[name], settings[name]) or _why_unmet(name, edges, settings[name], reasons)
        if reason is None and any(variant.on_error is OnError.CONTINUE for variant in settings[name]):
            reason = _PASSED_OVER
        if reason is not None:
            reasons[name] = reason
    return reasons


_PASSED_OVER = "it does not enforce, so an error of it is passed over and it counts as skipped"


def _why_skipped(stage: StageSpec, variants: Sequence[Settings]) -> str | None:
    if stage.when is not None:
        return "it has a `when`"
    if any(variant.mode is Mode.DISABLED for variant in variants):
        return "its mode may be `disabled`"
    if OnError.CONTINUE in (stage.on_error, *(o.on_error for o in stage.overrides if not isinstance(o, Invalid))):
        return "its `on_error` is `continue`, and a stage that is continued past counts as skipped"
    return None


def _why_unmet(name: str, edges: _Edges, variants: Sequence[Settings], skippable: Mapping[str, str]) -> str | None:
    """An unmet need skips a stage, but fails the run of one that enforces. A plain need always is, or all is over."""
    if all(variant.mode is Mode.ENFORCE for variant in variants):
        return None
    for need, states in edges[name]:
        if states is None:
            continue
        if NeedState.SUCCEEDED not in states or (need in skippable and NeedState.SKIPPED not in states):
            return f"its need of {need} may not be met"
    return None


def _warn_unmeetable(draft: Draft, path: Path, spec: PipelineSpec, edges: _Edges, skippable: Mapping[str, str]) -> None:
    for name, stage in spec.stages.items():
        for i, need in enumerate(stage.needs):
            states = None if isinstance(need, Invalid) else dict(edges[name]).get(need.stage)
            if isinstance(need, Invalid) or not states:
                continue
            if not states & {NeedState.SUCCEEDED, NeedState.SKIPPED}:
                why = "a run does not go on past a stage that ended so"
            elif states == {NeedState.SKIPPED} and need.stage not in skippable:
                why = f"{need.stage} is never skipped"
            else:
                continue
            draft.warn(
                (*path, "stages", name, "needs", i, "is"), "unmeetable-need", f"this need can never be met: {why}"
            )
