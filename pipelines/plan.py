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
    "DEFAULT_ABORT",
    "DEFAULT_QUEUE",
    "DEFAULT_UNDO_RETRY",
    "DEFAULT_UNDO_SECONDS",
    "AbortPolicy",
    "BreakerPolicy",
    "Case",
    "Fallback",
    "Jitter",
    "Mode",
    "Need",
    "OnError",
    "PipelinePlan",
    "Plan",
    "PluginPlan",
    "Recover",
    "RestartPolicy",
    "RetryPolicy",
    "SecretPlan",
    "SecretSource",
    "SplitPlan",
    "StagePlan",
    "StageState",
    "UndoPlan",
    "Unmatched",
    "Variant",
]

DEFAULT_UNDO_SECONDS = 30.0
"""How long the compensation of one run may take before what is left of it is parked."""

DEFAULT_QUEUE = 1024
"""Calls that may wait for a free place of a plugin before callers are told that it is busy."""


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


class Jitter(enum.Enum):
    """How a pause between attempts is drawn: anywhere between nothing and the backoff, or the backoff itself."""

    FULL = "full"
    NONE = "none"


class Recover(enum.Enum):
    """What becomes of a durable run whose host was killed before the verdict was delivered."""

    UNDO = "undo"
    RESUME = "resume"


class SecretSource(enum.Enum):
    """Where the value of a secret is found."""

    FILE = "file"
    ENV = "env"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` counts the first one. `on` holds error classes; a call that was never sent may always be repeated.

    The pause before attempt n + 1 is `initial_seconds * factor ** (n - 1)`, at most `longest_seconds`, then jittered.
    """

    name: str
    attempts: int
    on: frozenset[str]
    initial_seconds: float
    longest_seconds: float
    factor: float
    jitter: Jitter


DEFAULT_UNDO_RETRY = RetryPolicy(
    name="undo",
    attempts=5,
    on=frozenset({"WorkerLost", "Busy", "Retryable", "DeadlineExceeded", "PluginError"}),
    initial_seconds=0.1,
    longest_seconds=5.0,
    factor=2.0,
    jitter=Jitter.FULL,
)
"""How an undo is tried where the file says nothing: every undo may be repeated, and nobody waits for it."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Opens when of the last `window` calls, at least `minimum_calls` of them known, `failure_rate` (0 to 1) failed.

    After `open_seconds` at most `probes` calls are let through at once; that many successes close it, one failure
    opens it again.
    """

    name: str
    window: int
    minimum_calls: int
    failure_rate: float
    open_seconds: float
    probes: int


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """At most `intensity` unplanned ends of a plugin's workers within `period_seconds`; the pause between starts grows
    from `initial_seconds` by `factor` up to `longest_seconds`.
    """

    intensity: int
    period_seconds: float
    initial_seconds: float
    longest_seconds: float
    factor: float = 2.0


@dataclass(frozen=True, slots=True)
class AbortPolicy:
    """A canary goes when, after `minimum_calls` of its own, it fails more than `error_factor` times as often as the
    stable generation, or its high latencies are more than `latency_factor` times as long.
    """

    error_factor: float
    latency_factor: float
    minimum_calls: int


DEFAULT_ABORT = AbortPolicy(error_factor=2.0, latency_factor=2.0, minimum_calls=50)
"""Twice as bad over fifty calls is no chance; what is a little worse is for people to see."""


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """A new generation takes `percent` (0 to 100) of the calls at first: whole calls, chosen by `key`.

    `key` gives a string over payload and context; equal ones go the same way, but for "", of which each call is drawn
    by itself. One that cannot be worked out stays with the stable generation. All splits on one hook are equal but for
    their `mark`.
    """

    percent: float
    key: Expression
    abort: AbortPolicy
    mark: Mark | None = None


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
class UndoPlan:
    """How a stage is compensated: `stage` of `plugin`, called with `config` (an id of its `PluginPlan.configs`).

    `inputs` are as in StagePlan; a value that cannot be worked out is null. `timeout_seconds` bounds one attempt.
    """

    plugin: str
    stage: str
    config: str
    timeout_seconds: float
    inputs: tuple[tuple[str, object], ...] = ()
    retry: RetryPolicy | None = None


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage of one pipeline on one hook.

    `index` is its place in `PipelinePlan.stages`; `ancestors` has the bit `1 << index` of every stage it needs,
    directly or not. `variants` holds the overrides in file order and, last, the stage as written (`when` None).
    `inputs` maps names of `call.input` to a constant or an expression. `writes` is None when the manifest
    declares none for this hook, which means that anything may change; paths start with "payload".
    `retry` and `breaker` are None where the stage has none; `undo` is None where nothing compensates it, `split` where
    new generations take all calls at once. `overridden` is why its mode was changed by command, "" where it was not.
    `signs` names the values of its `out` that the host signs, `counts` those that it counts.
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
    retry: RetryPolicy | None = None
    breaker: BreakerPolicy | None = None
    undo: UndoPlan | None = None
    split: SplitPlan | None = None
    overridden: str = ""
    signs: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Fallback:
    """What to answer when a run fails with an error class of `on`."""

    on: frozenset[str]
    reason: str
    allow: bool = False


@dataclass(frozen=True, slots=True)
class PipelinePlan:
    """A pipeline on one hook, its stages in a topological order. A file's pipeline on two hooks makes two of these.

    `finals` are the stages of `finally`: they need nothing and nothing needs them; `index` counts them by themselves.
    `confirm_seconds` is None where a verdict needs no confirmation.
    """

    name: str
    hook: Hook
    match: Expression | None
    deadline_seconds: float
    stages: tuple[StagePlan, ...]
    fallback: Fallback | None = None
    durable: bool = False
    recover: Recover = Recover.UNDO
    confirm_seconds: float | None = None
    undo_seconds: float = DEFAULT_UNDO_SECONDS
    finals: tuple[StagePlan, ...] = ()
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class SecretPlan:
    """Where a secret is found, never what it is. `where` is a path as written in the file of `mark`, or a variable."""

    name: str
    source: SecretSource
    where: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class PluginPlan:
    """A plugin as the file uses it. `source` is as written; `configs` holds every distinct `with` by its id.

    `secrets` maps the names that the plugin uses to those of `Plan.secrets`. An id of `configs` says nothing of them.

    `concurrency` bounds the calls that its workers have at once, None where only their own windows do; `queue` bounds
    those that wait. `restart` is None where the host's own policy holds. `version` is the specifier that the plugin's
    version satisfies.
    """

    name: str
    source: str
    replicas: int
    configs: Mapping[str, Mapping[str, object]]
    extras: tuple[str, ...] | None = None
    grant: Asks = Asks()
    concurrency: int | None = None
    queue: int = DEFAULT_QUEUE
    restart: RestartPolicy | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
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
    secrets: Mapping[str, SecretPlan] = field(default_factory=dict)
    cases: tuple[Case, ...] = ()
    files: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = field(default=())

    @property
    def durable(self) -> bool:
        """Whether any pipeline's runs are journaled."""
        return any(pipeline.durable for route in self.routes.values() for pipeline in route)
