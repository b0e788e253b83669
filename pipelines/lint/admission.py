"""Who lets something in: on an admission hook nothing is allowed past the stage that admits there.

The rule holds wherever the file names a plugin that offers such a stage (`admits = true` in its manifest) on the hook;
a file without one is judged as before. Which stage it is, is the author's word; the rest is read off the plan.
What it judged must be what is let in, and not come from who asks to be let in. An override must not open an admission
hook in any case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipelines.declaration import Path as Place
from pipelines.expressions import Expression
from pipelines.file.tree import Path
from pipelines.hooks import Hook
from pipelines.lint.draft import Draft
from pipelines.lint.writes import DROPPED, common
from pipelines.plan import Mode, OnError, PipelinePlan, Plan, StagePlan, Unmatched
from pipelines.problem import Problem

__all__ = ["admitting", "check_admission", "opened"]


def admitting(draft: Draft, hook: Hook) -> tuple[str, ...]:
    """The stages that admit on a hook, as `uses` names them, of all plugins that the file declares."""
    if not hook.admission:
        return ()
    return tuple(
        f"{plugin}/{stage.name}"
        for plugin, declaration in draft.declarations.items()
        for stage in declaration.stages.values()
        if stage.admits and stage.hooks is not None and hook.name in stage.hooks
    )


def check_admission(
    draft: Draft,
    hooks: Mapping[str, Hook],
    routes: Mapping[str, Sequence[PipelinePlan]],
    unmatched: Mapping[str, Unmatched],
) -> None:
    """Report every way to an allow that avoids the stage that admits.

    A call passes every pipeline that applies to it, so one that applies to all and admits guards the hook by itself.
    """
    for name, hook in hooks.items():
        stages = admitting(draft, hook)
        pipelines = routes.get(name, ())
        if not stages:
            continue
        is_guarded = any(_guards_all(p, stages) for p in pipelines)
        for number, pipeline in enumerate(pipelines):
            if not is_guarded and not _guards(pipeline, stages):
                _blame(draft, pipeline, stages)
            elif not any(_guards_all(later, stages) for later in pipelines[number + 1 :]):
                _check_what_follows(draft, pipeline, stages)
        if not is_guarded and unmatched[name] is Unmatched.ALLOW:
            message = f"what no pipeline applies to would be let in without {_either(stages)}: write `unmatched: deny`"
            draft.error(("hooks", name, "unmatched"), "unguarded", message)


def _guards(pipeline: PipelinePlan, stages: Sequence[str]) -> list[StagePlan]:
    """The admission stages of which no run of the pipeline can end in allow without their success."""
    return [stage for stage in pipeline.stages if _admits(stage, stages) and not _ways_around(stage)]


def _guards_all(pipeline: PipelinePlan, stages: Sequence[str]) -> bool:
    return pipeline.match is None and bool(_guards(pipeline, stages))


def _check_what_follows(draft: Draft, pipeline: PipelinePlan, stages: Sequence[str]) -> None:
    """Report every stage that may change what was judged and is not judged itself: something else would be let in."""
    judged, guards = _judged(draft, pipeline.hook, stages), _guards(pipeline, stages)
    for stage in pipeline.stages:
        is_judged = stage in guards or any(guard.ancestors >> stage.index & 1 for guard in guards)
        place = None if is_judged else _changed(stage, judged)
        if place is not None:
            message = (
                f"it may change {'.'.join(place)} after {_either(stages)} has judged it, and something else would be "
                "let in: have the stage that admits need this one"
            )
            draft.error(("pipelines", pipeline.name, "stages", stage.id, "uses"), "unguarded", message)


def _judged(draft: Draft, hook: Hook, stages: Sequence[str]) -> tuple[Place, ...]:
    """What the stages that admit look at; everything, where one of them does not say."""
    found: list[Place] = []
    for name in stages:
        plugin, _, stage = name.partition("/")
        reads = (draft.declarations[plugin].stages[stage].hooks or {})[hook.name].reads
        found += _EVERYTHING if reads is None else reads
    return tuple(found)


def _changed(stage: StagePlan, judged: tuple[Place, ...]) -> Place | None:
    """What a stage may change of what is judged, or nothing; it may change everything where its author does not say."""
    if all(variant.mode in DROPPED for variant in stage.variants):
        return None
    return common(judged, _EVERYTHING if stage.writes is None else stage.writes)


_EVERYTHING: tuple[Place, ...] = (("payload",),)

_CALLERS = ("payload", "context")
"""Roots of expressions that whoever asks to be let in, or its gateway, has filled."""


def _admits(stage: StagePlan, stages: Sequence[str]) -> bool:
    return f"{stage.plugin}/{stage.stage}" in stages


def _ways_around(stage: StagePlan) -> list[tuple[Path, str]]:
    """How a run can go on although the stage has not succeeded: where that is written, and what to write instead.

    A stage that always enforces runs or ends its run, whatever it needs; so these are all.
    """
    found: list[tuple[Path, str]] = []
    if stage.when is not None:
        found.append((("when",), "is skipped where `when` is false: leave it out, and tell calls apart by `match`"))
    for key, value in stage.inputs:
        if isinstance(value, Expression) and any(path[0] in _CALLERS for path in value.references):
            why = "would believe of itself what asks to be let in: take it from stages"
            found.append((("in", key), why))
    *overrides, base = stage.variants
    for place, variant in [*((("overrides", i), v) for i, v in enumerate(overrides)), ((), base)]:
        if variant.mode is not Mode.ENFORCE:
            found.append(((*place, "mode"), f"does not decide in mode `{variant.mode.value}`: write `mode: enforce`"))
        elif variant.on_error is not OnError.FAIL:
            found.append(((*place, "on_error"), "is passed over where it fails: write `on_error: fail`"))
    return found


def _blame(draft: Draft, pipeline: PipelinePlan, stages: Sequence[str]) -> None:
    path: Path = ("pipelines", pipeline.name)
    candidates = [stage for stage in pipeline.stages if _admits(stage, stages)]
    for stage in candidates:
        for place, why in _ways_around(stage):
            at = (*path, "stages", stage.id, *place)
            # What an override inherits is told once, where the stage itself says it.
            if place[0] != "overrides" or draft.tree(at) is not None:
                draft.error(at, "unguarded", f"{stage.id} admits, and {why}")
    if not candidates:
        message = f"it can allow without {_either(stages)}, which admits on {pipeline.hook.name}: add it as a stage"
        draft.error((*path, "stages"), "unguarded", message, at=draft.key(path))


def _either(stages: Sequence[str]) -> str:
    return " or ".join(stages)


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
