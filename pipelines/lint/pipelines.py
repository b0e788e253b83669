"""One pipeline, on each of its hooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pipelines.expressions import Expect
from pipelines.file.reading import Invalid
from pipelines.file.stages import ErrorClass, PipelineSpec, Verdict
from pipelines.file.tree import Path
from pipelines.hooks import Hook
from pipelines.lint.budget import check_budget
from pipelines.lint.configuration import Configurations
from pipelines.lint.draft import Draft
from pipelines.lint.expressions import Desk, stage_fields
from pipelines.lint.finals import RUN, Finals
from pipelines.lint.graph import draw
from pipelines.lint.policies import Policies
from pipelines.lint.stages import Weaver
from pipelines.lint.undo import Undoing
from pipelines.lint.uses import Use, find_use, settings_of
from pipelines.lint.writes import check_writes
from pipelines.plan import Fallback, Mode, PipelinePlan, Recover
from pipelines.suggest import nearest

__all__ = ["Woven", "weave_pipeline"]


class Woven(NamedTuple):
    """A pipeline as checked: its plans, one a hook, and what others ask of it."""

    plans: tuple[PipelinePlan, ...]
    hooks: tuple[Hook, ...]
    uses: Mapping[str, Use]
    finals: Mapping[str, Use]


def weave_pipeline(
    draft: Draft,
    name: str,
    spec: PipelineSpec,
    hooks: Mapping[str, Hook],
    configs: Configurations,
    policies: Policies,
) -> Woven:
    """Check one pipeline and make its plans."""
    path: Path = ("pipelines", name)
    uses = {stage: find_use(draft, (*path, "stages", stage), s.uses) for stage, s in spec.stages.items()}
    settings = {stage: settings_of(draft, s) for stage, s in spec.stages.items()}
    graph = draw(draft, path, spec, settings)
    undoing = Undoing(draft, path, spec, graph, uses, settings, configs, policies)
    weaver = Weaver(draft, path, graph, uses, spec.stages, settings, spec.deadline, configs, policies, undoing)
    finals = Finals(draft, path, spec, configs, policies)
    for part in (weaver, undoing, finals):
        part.check_common()
    _check_stages(draft, path, spec)
    check_budget(draft, path, spec, graph, settings, weaver.retries)
    fallback = _fallback(draft, path, spec, any(v.mode is Mode.ENFORCE for s in settings.values() for v in s))
    mine = _hooks(draft, path, spec, hooks)
    index = {stage: i for i, stage in enumerate(graph.order)}
    fields = stage_fields({stage: use.declaration for stage, use in uses.items()})
    plans = []
    for hook in mine:
        desk = Desk.for_hook(draft, hook, mine, fields)
        match = (
            desk.compile((*path, "match"), spec.match, Expect.BOOL, stages=False) if spec.match is not None else None
        )
        stages = tuple(weaver.weave(stage, index, desk, hook) for stage in graph.order)
        check_writes(draft, path, hook, graph, uses, settings)
        plans.append(
            PipelinePlan(
                name=name,
                hook=hook,
                match=match,
                deadline_seconds=spec.deadline,
                stages=stages,
                fallback=fallback,
                durable=spec.durable is True,
                recover=spec.recover or Recover.UNDO,
                confirm_seconds=spec.confirm_within,
                undo_seconds=spec.undo_deadline,
                finals=tuple(finals.weave(desk.knowing("run", RUN), hook)),
                mark=draft.key(path),
            )
        )
    return Woven(tuple(plans), mine, uses, finals.uses)


def _check_stages(draft: Draft, path: Path, spec: PipelineSpec) -> None:
    at = (*path, "stages")
    if not draft.names(at) and draft.tree(at) is not None:
        draft.error(at, "wrong-value", "a pipeline has at least one stage")


def _hooks(draft: Draft, path: Path, spec: PipelineSpec, hooks: Mapping[str, Hook]) -> tuple[Hook, ...]:
    found: dict[str, Hook] = {}
    for i, name in enumerate(spec.hook):
        at = (*path, "hook") if draft.tree((*path, "hook", i)) is None else (*path, "hook", i)
        if isinstance(name, Invalid):
            continue
        if name not in hooks:
            if name not in draft.names(("hooks",)):
                draft.error(at, "unknown-hook", f"there is no hook {name!r}", nearest(name, hooks))
        elif name in found:
            draft.error(at, "wrong-value", f"the hook {name} is written twice")
        else:
            found[name] = hooks[name]
    return tuple(found.values())


def _fallback(draft: Draft, path: Path, spec: PipelineSpec, enforces: bool) -> Fallback | None:
    written = spec.fallback
    if written is None:
        return None
    allow = written.verdict is Verdict.ALLOW
    if allow and enforces:
        message = "a fallback may allow only where no stage enforces: a guard that fails must not open the gate"
        draft.error((*path, "fallback", "verdict"), "fallback-allows", message)
    on = frozenset(error.value for error in written.on if isinstance(error, ErrorClass))
    return Fallback(on, written.reason, allow)
