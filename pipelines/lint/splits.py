"""`split`: which part of the calls a new generation takes at first. A call goes whole to one revision of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipelines.expressions import Expect
from pipelines.file.stages import SplitSpec
from pipelines.file.tree import Path
from pipelines.lint.draft import Draft
from pipelines.lint.expressions import Desk
from pipelines.plan import AbortPolicy, PipelinePlan, SplitPlan

__all__ = ["check_splits", "split_plan"]


def split_plan(desk: Desk, path: Path, spec: SplitSpec | None) -> SplitPlan | None:
    """The split at `path` on one hook; None where there is none, or none that can be used."""
    if spec is None or not spec.key_:
        return None
    key = desk.compile((*path, "key"), spec.key_, Expect.STRING, stages=False)
    if key is None:
        return None
    abort = AbortPolicy(spec.abort.errors, spec.abort.latency, spec.abort.minimum_calls)
    return SplitPlan(spec.canary, key, abort, desk.draft.key(path))


def check_splits(draft: Draft, routes: Mapping[str, tuple[PipelinePlan, ...]]) -> None:
    """Report every split that differs from the first one on its hook, once, whatever the number of hooks."""
    told = set[Path]()
    for hook, pipelines in routes.items():
        first: SplitPlan | None = None
        for path, split in _splits(pipelines):
            first = first or split
            if _said(split) != _said(first) and path not in told:
                told.add(path)
                message = (
                    f"{first.mark} splits the calls of {hook} otherwise, and a call goes to one revision as a whole"
                )
                draft.error(path, "split-conflict", f"{message}: write the same in both", at=draft.key(path))


def _splits(pipelines: tuple[PipelinePlan, ...]) -> Iterator[tuple[Path, SplitPlan]]:
    for pipeline in pipelines:
        for stage in pipeline.stages:
            if stage.split is not None:
                yield ("pipelines", pipeline.name, "stages", stage.id, "split"), stage.split


def _said(split: SplitPlan) -> tuple[float, str, AbortPolicy]:
    return split.percent, split.key.text, split.abort
