"""`compensate`: what undoes a stage, when there must be one, and the calls that it comes to on each hook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipelines.expressions import Expression
from pipelines.file.stages import CompensateSpec, PipelineSpec
from pipelines.file.tree import Path
from pipelines.hooks import Hook
from pipelines.lint.configuration import Configurations
from pipelines.lint.draft import Draft
from pipelines.lint.expressions import Desk, mention
from pipelines.lint.graph import Graph, Settings
from pipelines.lint.inputs import TEMPLATE_SHIFT, check_inputs, inputs
from pipelines.lint.policies import Policies
from pipelines.lint.uses import Use, check_offer, find_use, timeout_of
from pipelines.plan import Mode, UndoPlan

__all__ = ["Undoing"]


@dataclass(slots=True)
class Undoing:
    """The compensations of one pipeline; what does not depend on the hook is worked out once."""

    draft: Draft
    path: Path
    spec: PipelineSpec
    graph: Graph
    uses: Mapping[str, Use]
    settings: Mapping[str, tuple[Settings, ...]]
    configs: Configurations
    policies: Policies
    _found: dict[str, tuple[Use, UndoPlan]] = field(default_factory=dict)

    def check_common(self) -> None:
        """Look up every compensation and report what is wrong whatever the hook."""
        for name, stage in self.spec.stages.items():
            path = (*self.path, "stages", name, "compensate")
            if isinstance(stage.compensate, CompensateSpec):
                self._found[name] = self._common(path, name, stage.compensate)
            elif self.draft.tree(path) is None:
                self._demand(path, name)
        self._check_pipeline()

    def _common(self, path: Path, name: str, spec: CompensateSpec) -> tuple[Use, UndoPlan]:
        draft = self.draft
        if self.spec.durable is None and not draft.log.is_spoiled((*self.path, "durable")):
            message = "say whether its undo survives the end of the host: write `durable: true` or `durable: false`"
            draft.error(path, "needs-durable", message, at=draft.key(path))
        use = find_use(draft, path, spec.uses)
        self._check_pair(path, name, use)
        check_inputs(draft, (*path, "in"), spec.in_)
        plan = UndoPlan(
            plugin=use.plugin,
            stage=use.stage,
            config=self.configs.add(use.plugin, (*path, "with")) if use.plugin else "",
            timeout_seconds=self._timeout(path, spec),
            retry=self.policies.undo_retry((*path, "retry"), spec.retry),
        )
        return use, plan

    def _timeout(self, path: Path, spec: CompensateSpec) -> float:
        at = (*path, "timeout")
        own = timeout_of(self.draft, at, spec.timeout)
        if own is not None and own > self.spec.undo_deadline:
            self.draft.warn(
                at, "over-deadline", "one attempt may take longer than `undo_deadline` gives to all of them"
            )
        default = timeout_of(self.draft, ("defaults", "stage", "timeout"), self.draft.spec.defaults.stage.timeout)
        return own or default or self.spec.undo_deadline

    def _check_pair(self, path: Path, name: str, undo: Use) -> None:
        """What undoes must be made for it, and there must be something to undo."""
        does = self.uses[name]
        if undo.declaration is not None:
            wanted, found = does.stage, undo.declaration.undoes
            if found is None:
                message = f"{undo.plugin}/{undo.stage} undoes nothing: its manifest has no `undoes`"
                self.draft.error((*path, "uses"), "not-an-undo", message, self._undo_of(does))
            elif undo.plugin == does.plugin and found != wanted:
                message = f"{undo.plugin}/{undo.stage} undoes {found}, not {wanted}"
                self.draft.error((*path, "uses"), "not-an-undo", message, self._undo_of(does))
        if does.declaration is not None and does.declaration.effects == "none":
            message = f"the manifest says that {does.stage} has no effects, so there is nothing to undo"
            self.draft.warn(path, "nothing-to-undo", message, at=self.draft.key(path))

    def _undo_of(self, does: Use) -> str | None:
        """The stage of the same plugin that undoes this one, as `uses` names it."""
        offered = self.draft.declarations[does.plugin].stages if does.plugin in self.draft.declarations else {}
        return next((f"{does.plugin}/{name}" for name, stage in offered.items() if stage.undoes == does.stage), None)

    def _demand(self, path: Path, name: str) -> None:
        use = self.uses[name]
        idle = all(variant.mode is Mode.DISABLED for variant in self.settings[name])
        if use.declaration is None or use.declaration.effects != "external" or idle:
            return
        undo = self._undo_of(use)
        remedy = "`compensate: { uses: " + (undo or "PLUGIN/STAGE") + " }`"
        message = f"{use.stage} has effects outside: write {remedy}, or `compensate: none` if they may stay"
        self.draft.error(path, "needs-undo", message, at=self.draft.key(path))

    def _check_pipeline(self) -> None:
        draft, spec = self.draft, self.spec
        for key, value in (("recover", spec.recover), ("confirm_within", spec.confirm_within)):
            at = (*self.path, key)
            if value is not None and spec.durable is not True and not draft.log.is_spoiled((*self.path, "durable")):
                message = "only a durable run can be recovered or confirmed: write `durable: true`"
                draft.error(at, "needs-durable", message, at=draft.key(at))
        if self._found or draft.log.is_touched((*self.path, "stages")):
            return
        for key in ("undo_deadline", "confirm_within"):
            at = (*self.path, key)
            if draft.tree(at) is not None:
                draft.warn(at, "nothing-to-undo", "no stage of this pipeline has `compensate`", at=draft.key(at))

    def weave(self, name: str, desk: Desk, hook: Hook) -> UndoPlan | None:
        """The compensation of a stage on one hook, None where it has none."""
        spec = self.spec.stages[name].compensate
        if name not in self._found or not isinstance(spec, CompensateSpec):
            return None
        use, plan = self._found[name]
        path = (*self.path, "stages", name, "compensate")
        check_offer(self.draft, path, use, hook)

        def check(at: Path, expression: Expression) -> None:
            self._check_references(at, name, expression)

        return replace(plan, inputs=tuple(inputs(desk, (*path, "in"), spec.in_, check)))

    def _check_references(self, path: Path, name: str, expression: Expression) -> None:
        """An undo may look at its own stage and at those that had ended before it."""
        seen = {name}
        for reference in sorted(r for r in expression.references if r[0] == "stages" and len(r) > 1):
            other = reference[1]
            if other in seen or other in self.graph.ancestors[name]:
                continue
            seen.add(other)
            if not self.draft.log.is_touched((*self.path, "stages", name, "needs")):
                message = (
                    f"{name} does not need {other!r}, so what undoes it cannot count on {other}: add it to `needs`"
                )
                mark = self.draft.inside(path, TEMPLATE_SHIFT + mention(expression.text, reference[:2]))
                self.draft.error(path, "not-an-ancestor", message, at=mark)
