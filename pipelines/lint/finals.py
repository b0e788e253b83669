"""`finally`: stages that run side by side once the answer is given and everything is undone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipelines.expressions import Expect, Expression
from pipelines.fields import Field, Kind
from pipelines.file.stages import FinalSpec, PipelineSpec
from pipelines.file.tree import Path
from pipelines.hooks import Hook
from pipelines.lint.configuration import Configurations
from pipelines.lint.draft import Draft
from pipelines.lint.expressions import Desk
from pipelines.lint.inputs import check_inputs, inputs
from pipelines.lint.policies import Policies
from pipelines.lint.uses import Use, check_offer, check_ordinary, declared_writes, find_use, timeout_of
from pipelines.plan import BreakerPolicy, Mode, OnError, RetryPolicy, StagePlan, Variant

__all__ = ["RUN", "Finals"]

RUN = tuple(Field(name, Kind.STRING) for name in ("verdict", "id", "hook", "pipeline", "code", "reason"))
"""What a final may ask of its run. `code` and `reason` are those of the violation, "" where there is none."""


@dataclass(frozen=True, slots=True)
class _Common:
    """What is the same on every hook."""

    use: Use
    variant: Variant
    retry: RetryPolicy | None
    breaker: BreakerPolicy | None


@dataclass(slots=True)
class Finals:
    """The stages of one `finally`; what does not depend on the hook is worked out once."""

    draft: Draft
    path: Path
    spec: PipelineSpec
    configs: Configurations
    policies: Policies
    _common: dict[str, _Common] = field(default_factory=dict)

    @property
    def uses(self) -> dict[str, Use]:
        """What each of them uses."""
        return {name: common.use for name, common in self._common.items()}

    def check_common(self) -> None:
        """Look up what each uses, and report what is wrong whatever the hook."""
        taken = self.draft.names((*self.path, "stages"))
        for name, spec in self.spec.finally_.items():
            path = (*self.path, "finally", name)
            if name in taken:
                message = f"the pipeline has a stage {name!r} already, and both are asked for by name"
                self.draft.error(path, "name-taken", message, at=self.draft.key(path))
            if spec.mode is Mode.ENFORCE:
                message = "the verdict is given already, so nothing can be enforced: use `mode: audit` or leave it out"
                self.draft.error((*path, "mode"), "final-enforces", message)
            check_inputs(self.draft, (*path, "in"), spec.in_)
            self._common[name] = self._settle(path, spec)

    def _settle(self, path: Path, spec: FinalSpec) -> _Common:
        draft, default = self.draft, self.draft.spec.defaults.stage.timeout
        use = find_use(draft, path, spec.uses)
        check_ordinary(draft, path, use)
        own = timeout_of(draft, (*path, "timeout"), spec.timeout)
        timeout = own or timeout_of(draft, ("defaults", "stage", "timeout"), default) or self.spec.deadline
        config = self.configs.add(use.plugin, (*path, "with")) if use.plugin else ""
        return _Common(
            use,
            Variant(None, config, spec.mode or Mode.AUDIT, OnError.CONTINUE, timeout),
            self.policies.retry((*path, "retry"), spec.retry, use),
            self.policies.breaker((*path, "breaker"), spec.breaker),
        )

    def weave(self, desk: Desk, hook: Hook) -> Iterable[StagePlan]:
        """Make them for one hook. The desk knows `run` and every stage of the pipeline, whether it ran or not."""
        for index, (name, spec) in enumerate(self.spec.finally_.items()):
            common, path = self._common[name], (*self.path, "finally", name)
            check_offer(self.draft, path, common.use, hook)
            when = None if spec.when is None else desk.compile((*path, "when"), spec.when, Expect.BOOL)
            yield StagePlan(
                id=name,
                index=index,
                plugin=common.use.plugin,
                stage=common.use.stage,
                needs=(),
                ancestors=0,
                variants=(common.variant,),
                when=when,
                inputs=tuple(inputs(desk, (*path, "in"), spec.in_, _any)),
                writes=declared_writes(common.use, hook),
                idempotent=common.use.declaration is not None and common.use.declaration.idempotent,
                retry=common.retry,
                breaker=common.breaker,
                mark=self.draft.key(path),
            )


def _any(path: Path, expression: Expression) -> None:
    """Any stage may be asked for: a run may have ended before it, and what is not there is null."""
