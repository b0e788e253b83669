"""Whether a pipeline's stages can be done within its deadline, if each takes the time that it is given."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.file.spec import PipelineSpec
from pipelines.file.tree import Path
from pipelines.file.units import show_seconds
from pipelines.lint.draft import Draft
from pipelines.lint.graph import Graph
from pipelines.plan import RetryPolicy

__all__ = ["check_budget", "longest_seconds"]


def longest_seconds(timeout: float, retry: RetryPolicy | None) -> float:
    """How long a stage takes when every attempt runs out its timeout and every pause is the longest possible."""
    if retry is None:
        return timeout
    pauses = (min(retry.longest_seconds, retry.initial_seconds * retry.factor**n) for n in range(retry.attempts - 1))
    return timeout * retry.attempts + sum(pauses)


def check_budget(draft: Draft, path: Path, spec: PipelineSpec, graph: Graph, weights: Mapping[str, float]) -> None:
    """Warn where stages in a row may take longer than the deadline. `weights` has those whose timeout is written."""
    ends: dict[str, float] = {}
    for name in graph.order:
        begins = max((ends[need] for need, _ in graph.edges[name]), default=0.0)
        ends[name] = begins + weights.get(name, 0.0)
    # The path itself is asked for only where it will be shown: most files have none that is too long.
    if max(ends.values(), default=0.0) > spec.deadline:
        row = [name for name in _longest_path(graph, weights) if name in weights]
        total = show_seconds(sum(weights[name] for name in row))
        message = (
            f"{', '.join(row)} may take {total} {'one after the other ' * (len(row) > 1)}(timeouts x attempts, with "
            f"the longest pauses), and the run has {show_seconds(spec.deadline)}"
        )
        draft.warn((*path, "deadline"), "over-deadline", message)


def _longest_path(graph: Graph, weights: Mapping[str, float]) -> list[str]:
    import networkx as nx  # only here: it costs more CPU than all else that a lint does

    end = ""  # no stage has this name; every stage leads there, so that each one's weight lies on an edge
    drawn: nx.DiGraph[str] = nx.DiGraph()
    for name in graph.order:
        weight = weights.get(name, 0.0)
        followers = [other for other in graph.order if name in dict(graph.edges[other])]
        drawn.add_weighted_edges_from((name, follower, weight) for follower in [*followers, end])
    return [name for name in nx.dag_longest_path(drawn) if name != end]
