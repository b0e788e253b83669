"""The keys of a pipeline file: one class per section, one line per key. Reading, the JSON Schema and
`penstock explain` are all made from these tables. What the values mean together is checked in `pipelines.lint`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from pipelines.file.containers import Free, FreeTable, ListOf, MapOf, OneOrMany
from pipelines.file.durations import Amount, Timeout
from pipelines.file.policies import BreakerSpec, RestartSpec, RetrySpec
from pipelines.file.reading import Invalid, Shape
from pipelines.file.section import Overlay, OwnOrNone, Policy, Record, Section, Short, key
from pipelines.file.shape import Choice, Exactly, Flag, Text, Whole
from pipelines.hooks import CATALOGUE
from pipelines.plan import DEFAULT_QUEUE, DEFAULT_UNDO_SECONDS, Mode, OnError, Recover, Unmatched

__all__ = ["CaseSpec", "CompensateSpec", "ErrorClass", "FileSpec", "FinalSpec", "GrantSpec", "HookSpec", "NeedState"]
__all__ += [
    "PROFILE",
    "OverrideSpec",
    "PipelineSpec",
    "PluginDefaults",
    "PluginSpec",
    "StageDefaults",
    "StageSpec",
    "Verdict",
]

DEFAULT_DEADLINE_SECONDS = 10.0
"""A gateway waits this long at most when the file says nothing; enough for a cold model."""

MAX_REPLICAS = 64
"""More processes of one plugin than any gateway host has cores to give."""

MAX_CONCURRENCY = 65_536
"""More calls of one plugin at once than a host has memory to answer."""

MAX_QUEUE = 1_000_000
"""A call of a kilobyte each, this many that wait are a gigabyte."""

_NOTHING: Mapping[str, object] = MappingProxyType({})


class Verdict(enum.Enum):
    """What a fallback answers."""

    ALLOW = "allow"
    DENY = "deny"


class NeedState(enum.Enum):
    """Final states that a need may ask for."""

    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    DENIED = "denied"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ErrorClass(enum.Enum):
    """Errors that a fallback may be for."""

    WORKER_LOST = "WorkerLost"
    BUSY = "Busy"
    RETRYABLE = "Retryable"
    BREAKER_OPEN = "BreakerOpen"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    PLUGIN_ERROR = "PluginError"
    EXPRESSION_ERROR = "ExpressionError"
    MERGE_CONFLICT = "MergeConflict"
    NEED_UNMET = "NeedUnmet"


_HOOK = Text("the name of a hook", known=tuple(CATALOGUE))
_EXPRESSION = Text("a CEL expression", may_be_empty=True)  # CEL itself says what is wrong with nothing
_TIMEOUT = Timeout()
_INPUTS = MapOf(Free(), named=False)
_RETRY = Policy(RetrySpec, "retry policy")
_BREAKER = Policy(BreakerSpec, "breaker policy")
_RESTART = Policy(RestartSpec, "restart policy", may_be_none=False)
_CONCURRENCY = Whole(1, MAX_CONCURRENCY)
_QUEUE = Whole(0, MAX_QUEUE)
_WITH = "Configuration of the plugin, checked against its own schema; `{file: PATH}` stands for the content of a file."


class GrantSpec(Section):
    """Permissions given to a plugin; what its manifest asks for must stand here."""

    network: tuple[str | Invalid, ...] = key(ListOf(Text("`host:port`")), "Hosts it may reach.", default=())
    filesystem: tuple[str | Invalid, ...] = key(ListOf(Text("a path")), "Paths it may use.", default=())
    subprocess: bool = key(Flag(), "Whether it may start processes.", default=False)
    secrets: tuple[str | Invalid, ...] = key(ListOf(Text("a name")), "Secrets it may be handed.", default=())


class PluginSpec(Section):
    """A plugin: its own environment and its own processes."""

    LATER: ClassVar[Mapping[str, str]] = {
        "version": "versions of published plugins",
        "lock": "locks of published plugins",
        "limits": "limits",
        "secrets": "secrets",
    }
    source: str = key(Text("a path"), "Folder or file of the plugin, relative to this file.", default="", required=True)
    replicas: int | None = key(Whole(1, MAX_REPLICAS), "How many equal workers serve it.")
    with_: Mapping[str, object] = key(FreeTable(), _WITH, default=_NOTHING)
    grant: GrantSpec = key(Record(GrantSpec), "Permissions it is given.", default=GrantSpec())
    extras: tuple[str | Invalid, ...] | None = key(
        ListOf(Text("a name")), "Optional dependencies to install instead of those its manifest chooses."
    )
    concurrency: int | None = key(
        _CONCURRENCY, "How many calls its workers have at once; as many as they take when not said."
    )
    queue: int | None = key(_QUEUE, f"How many calls may wait for it, {DEFAULT_QUEUE} by default; over it, it is busy.")
    restart: str | RestartSpec | None = key(_RESTART, "When its workers are started again.")


class PoliciesSpec(Section):
    """Named values to use in stages and plugins."""

    LATER: ClassVar[Mapping[str, str]] = {"limits": "limits"}
    timeouts: Mapping[str, float] = key(MapOf(Amount()), "Timeouts by name.", default=_NOTHING)
    retries: Mapping[str, RetrySpec] = key(MapOf(Record(RetrySpec)), "Retry policies by name.", default=_NOTHING)
    breakers: Mapping[str, BreakerSpec] = key(MapOf(Record(BreakerSpec)), "Breaker policies by name.", default=_NOTHING)
    restarts: Mapping[str, RestartSpec] = key(MapOf(Record(RestartSpec)), "Restart policies by name.", default=_NOTHING)


class StageDefaults(Section):
    """What stages do unless they say otherwise."""

    timeout: str | None = key(_TIMEOUT, "Longest time of one attempt.")
    retry: str | RetrySpec | None = key(
        _RETRY, "How often a call is tried; where a stage is not idempotent, only after Busy and Retryable."
    )
    breaker: str | BreakerSpec | None = key(_BREAKER, "When calls are no longer let through.")
    mode: Mode | None = key(Choice(Mode), "What a violation does.")
    on_error: OnError | None = key(Choice(OnError), "What an error does.")


class PluginDefaults(Section):
    """What plugins have unless they say otherwise."""

    LATER: ClassVar[Mapping[str, str]] = {"limits": "limits"}
    replicas: int | None = key(Whole(1, MAX_REPLICAS), "How many equal workers serve a plugin.")
    concurrency: int | None = key(_CONCURRENCY, "How many calls the workers of a plugin have at once.")
    queue: int | None = key(_QUEUE, "How many calls may wait for a plugin.")
    restart: str | RestartSpec | None = key(_RESTART, "When the workers of a plugin are started again.")


class DefaultsSpec(Section):
    """Values for every stage and plugin that does not have its own."""

    stage: StageDefaults = key(Record(StageDefaults), "Defaults of stages.", default=StageDefaults())
    plugin: PluginDefaults = key(Record(PluginDefaults), "Defaults of plugins.", default=PluginDefaults())


class HookSpec(Section):
    """What a hook does when no pipeline applies; with `payload`, a hook of your own."""

    unmatched: Unmatched | None = key(
        Choice(Unmatched),
        "Verdict when no pipeline applies: deny by default for admission hooks that the file has a pipeline for.",
    )
    summary: str | None = key(Text(), "What the hook is for (own hooks).")
    payload: Mapping[str, object] | None = key(FreeTable(), "Fields of the payload and their kinds (own hooks).")
    answer: Mapping[str, object] | None = key(
        FreeTable(), "Fields of the answer where it is not the payload (own hooks)."
    )
    can_deny: bool | None = key(Flag(), "Whether the gateway obeys a denial (own hooks; true by default).")
    denial: str | None = key(Text(), "How the gateway expresses a denial (own hooks).")


class NeedSpec(Section):
    """A stage that must have ended first."""

    stage: str = key(Text("the name of a stage"), "The stage needed.", default="", required=True)
    is_: tuple[NeedState | Invalid, ...] | None = key(
        ListOf(Choice(NeedState), at_least=1), "How it must have ended; succeeded or skipped when not said."
    )


class OverrideSpec(Section):
    """Other settings of a stage, used when `when` holds; the first override that matches wins."""

    when: str | None = key(_EXPRESSION, "CEL over payload, context and stages.", required=True)
    with_: Mapping[str, object] = key(FreeTable(), f"{_WITH} Merged over the stage's.", default=_NOTHING)
    mode: Mode | None = key(Choice(Mode), "What a violation does.")
    timeout: str | None = key(_TIMEOUT, "Longest time of one attempt.")
    on_error: OnError | None = key(Choice(OnError), "What an error does.")


class CompensateSpec(Section):
    """How what a stage did is undone when its run does not end in allow or modify."""

    uses: str = key(
        Text("PLUGIN/STAGE"), "The stage that undoes it; its manifest says `undoes`.", default="", required=True
    )
    with_: Mapping[str, object] = key(FreeTable(), f"{_WITH} Merged over the plugin's.", default=_NOTHING)
    in_: Mapping[str, object] = key(
        _INPUTS,
        'Values for `call.input`; "${...}" as a whole value is CEL over payload, context, and the stage with its '
        "ancestors. What cannot be worked out is null.",
        default=_NOTHING,
    )
    retry: str | RetrySpec | None = key(
        _RETRY, "How often it is tried; that of the defaults, or up to 5 times, when not said."
    )
    timeout: str | None = key(
        _TIMEOUT, "Longest time of one attempt; that of the defaults, or `undo_deadline`, when not said."
    )


class FinalSpec(Section):
    """A stage that runs after the answer and after undo, and cannot change the verdict."""

    uses: str = key(
        Text("PLUGIN/STAGE"), "The plugin and which of its stages, as PLUGIN/STAGE.", default="", required=True
    )
    with_: Mapping[str, object] = key(FreeTable(), f"{_WITH} Merged over the plugin's.", default=_NOTHING)
    when: str | None = key(_EXPRESSION, "CEL; it is skipped where it is false, or where it cannot be worked out.")
    in_: Mapping[str, object] = key(
        _INPUTS,
        'Values for `call.input`; "${...}" as a whole value is CEL over payload, context, stages and run '
        "{verdict, id, hook, pipeline, code, reason}. What cannot be worked out is null.",
        default=_NOTHING,
    )
    timeout: str | None = key(_TIMEOUT, "Longest time of one attempt.")
    retry: str | RetrySpec | None = key(_RETRY, "How often a call is tried.")
    breaker: str | BreakerSpec | None = key(_BREAKER, "When calls are no longer let through.")
    mode: Mode | None = key(Choice(Mode), "audit by default; it cannot be `enforce`.")


class StageSpec(Section):
    """One stage of a pipeline."""

    LATER: ClassVar[Mapping[str, str]] = {"split": "splitting calls between generations"}
    uses: str = key(
        Text("PLUGIN/STAGE"), "The plugin and which of its stages, as PLUGIN/STAGE.", default="", required=True
    )
    with_: Mapping[str, object] = key(FreeTable(), f"{_WITH} Merged over the plugin's.", default=_NOTHING)
    needs: tuple[NeedSpec | Invalid, ...] = key(
        ListOf(Short(NeedSpec, "stage")), "Stages that must have ended first.", default=()
    )
    when: str | None = key(_EXPRESSION, "CEL; the stage is skipped where it is false.")
    otherwise: Mapping[str, object] | None = key(FreeTable(), "The stage's `out` when it was skipped.")
    in_: Mapping[str, object] = key(
        _INPUTS, 'Values for `call.input`; "${...}" as a whole value is CEL.', default=_NOTHING
    )
    timeout: str | None = key(_TIMEOUT, "Longest time of one attempt.")
    retry: str | RetrySpec | None = key(_RETRY, "How often a call is tried; once when not said.")
    breaker: str | BreakerSpec | None = key(_BREAKER, "When calls are no longer let through.")
    compensate: str | CompensateSpec | None = key(
        OwnOrNone(CompensateSpec),
        'How it is undone; a stage whose manifest says `effects = "external"` needs it, or `none`, which waives it.',
    )
    mode: Mode | None = key(Choice(Mode), "What a violation does: enforce by default.")
    on_error: OnError | None = key(
        Choice(OnError), "What an error does: fail by default where the mode is enforce, continue elsewhere."
    )
    overrides: tuple[OverrideSpec | Invalid, ...] = key(
        ListOf(Record(OverrideSpec)), "Other settings for some calls.", default=()
    )


class FallbackSpec(Section):
    """What to answer when a run fails in one of some ways."""

    on: tuple[ErrorClass | Invalid, ...] = key(
        ListOf(Choice(ErrorClass), at_least=1), "Errors it is for.", default=(), required=True
    )
    reason: str = key(Text(), "The text of the answer.", default="", required=True)
    verdict: Verdict | None = key(Choice(Verdict), "deny by default; allow only where no stage enforces.")


class PipelineSpec(Section):
    """One graph of stages on one or more hooks."""

    hook: tuple[str | Invalid, ...] = key(OneOrMany(_HOOK), "The hook, or hooks.", default=(), required=True)
    match: str | None = key(_EXPRESSION, "CEL; the pipeline applies where it is true.")
    deadline: float = key(Amount(), "Longest time of a whole run.", default=DEFAULT_DEADLINE_SECONDS)
    stages: Mapping[str, StageSpec] = key(
        MapOf(Record(StageSpec)), "The stages by name.", default=_NOTHING, required=True
    )
    fallback: FallbackSpec | None = key(Record(FallbackSpec), "What to answer when a run fails.")
    durable: bool | None = key(
        Flag(), "Whether runs are journaled and survive the host; must be written where a stage has `compensate`."
    )
    recover: Recover | None = key(
        Choice(Recover), "What becomes of a run whose host was killed, where durable: undo by default."
    )
    confirm_within: float | None = key(
        Amount(), "An allow that the caller does not confirm in this time is undone, where durable."
    )
    undo_deadline: float = key(
        Amount(), "Longest time of undoing one run; what is left is parked.", default=DEFAULT_UNDO_SECONDS
    )
    finally_: Mapping[str, FinalSpec] = key(
        MapOf(Record(FinalSpec)), "Stages that run side by side after the answer and after undo.", default=_NOTHING
    )


class CaseSpec(Section):
    """One test, run by `penstock test`."""

    name: str = key(Text(), "What it shows.", default="", required=True)
    pipeline: str = key(Text("the name of a pipeline"), "The pipeline it runs.", default="", required=True)
    hook: str | None = key(_HOOK, "Which of the pipeline's hooks; the first when not said.")
    payload: Mapping[str, object] = key(FreeTable(), "The payload of the call.", default=_NOTHING, required=True)
    context: Mapping[str, object] = key(FreeTable(), "The context of the call.", default=_NOTHING)
    mock: Mapping[str, object] = key(
        MapOf(FreeTable(), named=False), "Answers given in the stead of stages, by stage.", default=_NOTHING
    )
    expect: tuple[str | Invalid, ...] = key(
        ListOf(_EXPRESSION, at_least=1), "CEL over run and stages; all must hold.", default=(), required=True
    )


_OVERLAID: Mapping[str, tuple[Shape, str]] = {
    "plugins": (MapOf(Record(PluginSpec)), "Plugins by name."),
    "policies": (Record(PoliciesSpec), "Named values."),
    "defaults": (Record(DefaultsSpec), "Values for stages and plugins that do not have their own."),
    "hooks": (MapOf(Record(HookSpec)), "Hooks: what happens unmatched, and hooks of your own."),
    "pipelines": (MapOf(Record(PipelineSpec)), "Pipelines by name; several on one hook run in this order."),
    "tests": (ListOf(Record(CaseSpec)), "Tests, run by `penstock test`."),
}


class _Overlaid(Section):
    """What a profile may change."""

    LATER: ClassVar[Mapping[str, str]] = {"secrets": "secrets"}


PROFILE = Overlay(_Overlaid, frozenset(_OVERLAID))


class FileSpec(Section):
    """The whole file, includes and profile merged."""

    LATER: ClassVar[Mapping[str, str]] = {"secrets": "secrets"}
    version: int = key(Exactly(1), "Version of this language.", default=1, required=True)
    name: str = key(Text(), "What the file is called in logs and metrics.", default="", required=True)
    include: tuple[str | Invalid, ...] = key(
        ListOf(Text("a path")), "Files merged into this one, relative to it.", default=()
    )
    plugins: Mapping[str, PluginSpec] = key(*_OVERLAID["plugins"], default=_NOTHING)
    policies: PoliciesSpec = key(*_OVERLAID["policies"], default=PoliciesSpec())
    defaults: DefaultsSpec = key(*_OVERLAID["defaults"], default=DefaultsSpec())
    hooks: Mapping[str, HookSpec] = key(*_OVERLAID["hooks"], default=_NOTHING)
    pipelines: Mapping[str, PipelineSpec] = key(*_OVERLAID["pipelines"], default=_NOTHING)
    tests: tuple[CaseSpec | Invalid, ...] = key(*_OVERLAID["tests"], default=())
    profiles: Mapping[str, object] = key(
        MapOf(PROFILE), "Overlays by name, laid over the file with `--profile`; null deletes.", default=_NOTHING
    )
