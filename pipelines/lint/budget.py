"""Whether a pipeline's stages can be done within its deadline if each takes all the time that it is given.

Only timeouts that are written count, by a stage or by the defaults: a stage without one is bounded by the deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pipelines.file.stages import OverrideSpec, PipelineSpec, StageSpec
from pipelines.file.tree import Path
from pipelines.file.units import show_seconds
from pipelines.lint.draft import Draft
from pipelines.lint.graph import Graph, Settings
from pipelines.lint.uses import timeout_of
from pipelines.plan import Mode, RetryPolicy

__all__ = ["check_budget", "longest_seconds"]


def longest_seconds(timeout: float, retry: RetryPolicy | None) -> float:
    """How long a stage takes when every attempt runs out its timeout and every pause is the longest possible."""
    if retry is None:
        return timeout
    pauses = (min(retry.longest_seconds, retry.initial_seconds * retry.factor**n) for n in range(retry.attempts - 1))
    return timeout * retry.attempts + sum(pauses)


def check_budget(
    draft: Draft,
    path: Path,
    spec: PipelineSpec,
    graph: Graph,
    settings: Mapping[str, Sequence[Settings]],
    retries: Mapping[str, RetryPolicy | None],
) -> None:
    """Warn of a timeout longer than the run's deadline, and of stages in a row that may take longer together."""
    default = timeout_of(draft, ("defaults", "stage", "timeout"), draft.spec.defaults.stage.timeout)
    weights: dict[str, float] = {}
    alone = False
    for name, stage in spec.stages.items():
        written = list(_written(draft, (*path, "stages", name), stage))
        for at, seconds in written:
            if seconds is not None and seconds > spec.deadline:
                alone = True
                message = f"one attempt may take longer than the whole run, which has {_shown(spec.deadline)}"
                draft.warn(at, "over-deadline", message)
        own = written[-1][1] or default
        pairs = zip(written, settings[name], strict=True)
        longest = max((t or own or 0.0 for (_, t), variant in pairs if variant.mode is not Mode.DISABLED), default=0.0)
        weights |= {name: longest_seconds(longest, retries[name])} if longest else {}
    # A row that holds a stage reported above is too long as well, and that would be said twice.
    if not alone:
        _check_rows(draft, path, spec, graph, weights)


def _written(draft: Draft, path: Path, stage: StageSpec) -> Iterable[tuple[Path, float | None]]:
    """The timeouts of every override, and last that of the stage, with their places."""
    for i, override in enumerate(stage.overrides):
        if isinstance(override, OverrideSpec):
            at: Path = (*path, "overrides", i, "timeout")
            yield at, timeout_of(draft, at, override.timeout)
    yield (*path, "timeout"), timeout_of(draft, (*path, "timeout"), stage.timeout)


def _check_rows(draft: Draft, path: Path, spec: PipelineSpec, graph: Graph, weights: Mapping[str, float]) -> None:
    ends: dict[str, float] = {}
    for name in graph.order:
        ends[name] = max((ends[need] for need, _ in graph.edges[name]), default=0.0) + weights.get(name, 0.0)
    # Which row it is, is asked only where it will be shown: in most files none is too long.
    if max(ends.values(), default=0.0) <= spec.deadline:
        return
    row = [name for name in _longest_row(graph, weights) if name in weights]
    total = _shown(sum(weights[name] for name in row))
    together = " one after the other" if len(row) > 1 else ""
    message = (
        f"{', '.join(row)} may take {total}{together}, timeouts times attempts and the longest pauses, "
        f"and the whole run has {_shown(spec.deadline)}"
    )
    draft.warn((*path, "deadline"), "over-deadline", message)


def _shown(seconds: float) -> str:
    return f"{seconds:.4g}s" if seconds >= 1 else show_seconds(seconds)


def _longest_row(graph: Graph, weights: Mapping[str, float]) -> list[str]:
    import networkx as nx  # only here: it costs more CPU than all else that a lint does

    end = ""  # no stage has this name; every stage leads there, so that each one's weight lies on an edge
    drawn: nx.DiGraph[str] = nx.DiGraph()
    for name in graph.order:
        drawn.add_edge(name, end, weight=weights.get(name, 0.0))
        drawn.add_weighted_edges_from((need, name, weights.get(need, 0.0)) for need, _ in graph.edges[name])
    return [name for name in nx.dag_longest_path(drawn) if name != end]
