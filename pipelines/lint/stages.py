"""The stages of one pipeline: what they use, how they behave, and their expressions on each hook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from pipelines.expressions import Expect, Expression
from pipelines.file.stages import NeedState, OverrideSpec, StageSpec
from pipelines.file.tree import Path
from pipelines.hooks import Hook
from pipelines.lint.configuration import Configurations
from pipelines.lint.draft import Draft
from pipelines.lint.expressions import Desk, mention
from pipelines.lint.graph import Graph, Settings
from pipelines.lint.inputs import TEMPLATE_SHIFT, check_inputs, inputs
from pipelines.lint.policies import Policies
from pipelines.lint.splits import split_plan
from pipelines.lint.undo import Undoing
from pipelines.lint.uses import Use, check_offer, check_ordinary, declared_writes, misfit_out, timeout_of
from pipelines.plan import BreakerPolicy, Mode, Need, OnError, RetryPolicy, StagePlan, StageState, Variant

__all__ = ["Weaver"]


class _Common(NamedTuple):
    """What is the same on every hook. A timeout is None where only the deadline of the run bounds it."""

    variants: tuple[tuple[str, float | None], ...]
    retry: RetryPolicy | None
    breaker: BreakerPolicy | None


@dataclass(slots=True)
class Weaver:
    """Makes the stages of a pipeline, once per hook; what does not depend on the hook is worked out once."""

    draft: Draft
    path: Path
    graph: Graph
    uses: Mapping[str, Use]
    stages: Mapping[str, StageSpec]
    settings: Mapping[str, tuple[Settings, ...]]
    deadline: float
    configs: Configurations
    policies: Policies
    undoing: Undoing
    _common: dict[str, _Common] = field(default_factory=dict)

    def check_common(self) -> None:
        """Settle configurations, timeouts and policies, and report what is wrong whatever the hook."""
        for name, stage in self.stages.items():
            path, use = (*self.path, "stages", name), self.uses[name]
            check_ordinary(self.draft, path, use)
            self._common[name] = _Common(
                tuple(self._variants(path, name, stage)),
                self.policies.retry((*path, "retry"), stage.retry, use),
                self.policies.breaker((*path, "breaker"), stage.breaker),
            )
            misfit_out(self.draft, (*path, "otherwise"), stage.otherwise, use.declaration)
            check_inputs(self.draft, (*path, "in"), stage.in_)

    def _variants(self, path: Path, name: str, stage: StageSpec) -> Iterable[tuple[str, float | None]]:
        default = timeout_of(self.draft, ("defaults", "stage", "timeout"), self.draft.spec.defaults.stage.timeout)
        own = timeout_of(self.draft, (*path, "timeout"), stage.timeout) or default
        for i, override in enumerate(stage.overrides):
            at = (*path, "overrides", i)
            if isinstance(override, OverrideSpec):
                timeout = timeout_of(self.draft, (*at, "timeout"), override.timeout) or own
                yield self._config(name, (*path, "with"), (*at, "with")), timeout
        yield self._config(name, (*path, "with")), own

    @property
    def retries(self) -> Mapping[str, RetryPolicy | None]:
        """The retry policy of each stage."""
        return {name: common.retry for name, common in self._common.items()}

    def _config(self, name: str, *paths: Path) -> str:
        plugin = self.uses[name].plugin
        return self.configs.add(plugin, *paths) if plugin else ""

    def weave(self, name: str, index: Mapping[str, int], desk: Desk, hook: Hook) -> StagePlan:
        """Make one stage for one hook."""
        stage, use = self.stages[name], self.uses[name]
        path = (*self.path, "stages", name)
        self._check_denial(path, name, hook)
        check_offer(self.draft, path, use, hook)
        when = self._condition(desk, (*path, "when"), name, stage.when)
        return StagePlan(
            id=name,
            index=index[name],
            plugin=use.plugin,
            stage=use.stage,
            needs=tuple(Need(index[need], _states(states)) for need, states in self.graph.edges[name]),
            ancestors=sum(1 << index[other] for other in self.graph.ancestors[name]),
            variants=tuple(self._woven_variants(desk, path, name, stage)),
            when=when,
            otherwise=stage.otherwise,
            inputs=tuple(
                inputs(desk, (*path, "in"), stage.in_, partial(self._check_references, name, shift=TEMPLATE_SHIFT))
            ),
            writes=declared_writes(use, hook),
            idempotent=use.declaration is not None and use.declaration.idempotent,
            retry=self._common[name].retry,
            breaker=self._common[name].breaker,
            undo=self.undoing.weave(name, desk, hook),
            split=split_plan(desk, (*path, "split"), stage.split),
            overridden=self.draft.overridden.get((str(self.path[-1]), name), ""),
            signs=() if use.declaration is None else use.declaration.signs,
            counts=() if use.declaration is None else use.declaration.counts,
            mark=self.draft.key(path),
        )

    def _woven_variants(self, desk: Desk, path: Path, name: str, stage: StageSpec) -> Iterable[Variant]:
        overrides = [(i, o) for i, o in enumerate(stage.overrides) if isinstance(o, OverrideSpec)]
        whens = [self._condition(desk, (*path, "overrides", i, "when"), name, o.when) for i, o in overrides]
        for when, (config, timeout), settings in zip(
            [*whens, None], self._common[name].variants, self.settings[name], strict=True
        ):
            yield Variant(when, config, settings.mode, settings.on_error, timeout or self.deadline)

    def _condition(self, desk: Desk, path: Path, name: str, text: str | None) -> Expression | None:
        compiled = desk.compile(path, text, Expect.BOOL) if text is not None else None
        if compiled is not None:
            self._check_references(name, path, compiled)
        return compiled

    def _check_references(self, name: str, path: Path, expression: Expression, *, shift: int = 0) -> None:
        """A stage may look only at stages that have ended when it starts, and only at an `out` that is there."""
        seen: set[str] = set()
        for reference in sorted(r for r in expression.references if r[0] == "stages" and len(r) > 1):
            other = reference[1]
            mark = self.draft.inside(path, shift + mention(expression.text, reference[:2]))
            if other in seen:
                continue
            if other not in self.graph.ancestors[name]:
                seen.add(other)
                if self.draft.log.is_touched((*self.path, "stages", name, "needs")):
                    continue
                message = f"{name} does not need {other!r}, so {other} may not have ended: add it to `needs`"
                self.draft.error(path, "not-an-ancestor", message, at=mark)
            elif reference[2:3] == ("out",) and self._may_lack(name, other, reference[3:4]):
                seen.add(other)
                lack = (
                    "has no `otherwise`"
                    if self.stages[other].otherwise is None
                    else f"its `otherwise` has no {reference[3]!r}"
                )
                message = f"{other} may be skipped ({self.graph.skippable[other]}) and {lack}"
                self.draft.error(path, "may-be-skipped", message, at=mark)

    def _may_lack(self, name: str, other: str, out: Sequence[str]) -> bool:
        """Not where the stage itself demands that the other has not been skipped."""
        otherwise = self.stages[other].otherwise
        if other not in self.graph.skippable or (otherwise is not None and all(part in otherwise for part in out)):
            return False
        # Where neither enforces, a value that is missing only makes the second be passed over as the first was.
        if other in self.graph.lenient and all(s.on_error is OnError.CONTINUE for s in self.settings[name]):
            return False
        states = dict(self.graph.edges[name]).get(other)
        return states is None or NeedState.SKIPPED in states

    def _check_denial(self, path: Path, name: str, hook: Hook) -> None:
        if hook.can_deny:
            return
        stage = self.stages[name]
        message = f"{hook.name} cannot deny, and an enforcing stage would: use `mode: permissive` or `mode: audit`"
        places = [(*path, "overrides", i, "mode") for i, o in enumerate(stage.overrides) if isinstance(o, OverrideSpec)]
        for place, settings in zip([*places, (*path, "mode")], self.settings[name], strict=True):
            inherited = self.draft.tree(place) is None
            if settings.mode is Mode.ENFORCE and not (inherited and "overrides" in place):
                self.draft.error(place, "cannot-deny", message)


def _states(states: frozenset[NeedState] | None) -> frozenset[StageState] | None:
    return None if states is None else frozenset(StageState(state.value) for state in states)
