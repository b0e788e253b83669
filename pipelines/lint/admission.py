"""What an override must not do: open an admission hook, so that everything is let in and nobody has judged it."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.plan import Mode, PipelinePlan, Plan
from pipelines.problem import Problem

__all__ = ["opened"]


def opened(before: Plan, after: Plan) -> Iterator[Problem]:
    """A problem for each stage whose override leaves an admission hook without a stage that enforces."""
    for hook, pipelines in after.routes.items():
        if not after.hooks[hook].admission or _enforced(pipelines) or not _enforced(before.routes[hook]):
            continue
        for pipeline in pipelines:
            for stage in pipeline.stages:
                if stage.overridden and stage.mark is not None:
                    path = f"pipelines.{pipeline.name}.stages.{stage.id}"
                    message = f"overridden, it leaves {hook} without a stage that enforces: everything would be let in"
                    yield Problem(stage.mark, "open-admission", path, message)


def _enforced(pipelines: tuple[PipelinePlan, ...]) -> bool:
    return any(stage.variants[-1].mode is Mode.ENFORCE for pipeline in pipelines for stage in pipeline.stages)
