"""The checked pipeline file as values: what a run needs, resolved, typed and in order.

Only `pipelines.lint` makes these; whoever holds a `Plan` may trust every reference in it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.declaration import Asks, Path
from pipelines.expressions import Expression
from pipelines.hooks import Hook
from pipelines.problem import Mark, Problem

__all__ = [
    "Case",
    "Fallback",
    "Mode",
    "Need",
    "OnError",
    "PipelinePlan",
    "Plan",
    "PluginPlan",
    "StagePlan",
    "StageState",
    "Unmatched",
    "Variant",
]


class StageState(enum.Enum):
    """Where a stage of a run stands; every state but the first two is final."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DENIED = "denied"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class Mode(enum.Enum):
    """What a violation does."""

    ENFORCE = "enforce"
    PERMISSIVE = "permissive"
    AUDIT = "audit"
    DISABLED = "disabled"


class OnError(enum.Enum):
    """What an error of a stage does to its run."""

    FAIL = "fail"
    CONTINUE = "continue"


class Unmatched(enum.Enum):
    """The verdict of a hook that no pipeline applies to."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Need:
    """An edge of the DAG: `stage` is the index of the stage needed; `states` is None for a plain need."""

    stage: int
    states: frozenset[StageState] | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """How a stage behaves when `when` holds: the stage as written, or one of its overrides.

    `config` is an id of `PluginPlan.configs`; `timeout_seconds` bounds one attempt.
    """

    when: Expression | None
    config: str
    mode: Mode
    on_error: OnError
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage of one pipeline on one hook.

    `index` is its place in `PipelinePlan.stages`; `ancestors` has the bit `1 << index` of every stage it needs,
    directly or not. `variants` holds the overrides in file order and, last, the stage as written (`when` None).
    `inputs` maps names of `call.input` to a constant or an expression. `writes` is None when the manifest
    declares none for this hook, which means that anything may change; paths start with "payload".
    """

    id: str
    index: int
    plugin: str
    stage: str
    needs: tuple[Need, ...]
    ancestors: int
    variants: tuple[Variant, ...]
    when: Expression | None = None
    otherwise: Mapping[str, object] | None = None
    inputs: tuple[tuple[str, object], ...] = ()
    writes: tuple[Path, ...] | None = None
    idempotent: bool = False
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Fallback:
    """What to answer when a run fails with an error class of `on`."""

    on: frozenset[str]
    reason: str
    allow: bool = False


@dataclass(frozen=True, slots=True)
class PipelinePlan:
    """A pipeline on one hook, its stages in a topological order. A file's pipeline on two hooks makes two of these."""

    name: str
    hook: Hook
    match: Expression | None
    deadline_seconds: float
    stages: tuple[StagePlan, ...]
    fallback: Fallback | None = None
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class PluginPlan:
    """A plugin as the file uses it. `source` is as written; `configs` holds every distinct `with` by its id."""

    name: str
    source: str
    replicas: int
    configs: Mapping[str, Mapping[str, object]]
    extras: tuple[str, ...] | None = None
    grant: Asks = Asks()
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One entry of `tests`. `mock` maps stage ids to the answer given in the plugin's stead."""

    name: str
    pipeline: str
    hook: str
    payload: Mapping[str, object]
    context: Mapping[str, object]
    mock: Mapping[str, Mapping[str, object]]
    expect: tuple[Expression, ...]
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole checked pipeline file. `routes` has the pipelines of each hook in file order."""

    name: str
    plugins: Mapping[str, PluginPlan]
    routes: Mapping[str, tuple[PipelinePlan, ...]]
    hooks: Mapping[str, Hook]
    unmatched: Mapping[str, Unmatched]
    cases: tuple[Case, ...] = ()
    files: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = field(default=())
