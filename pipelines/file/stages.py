"""The keys of a pipeline: its stages, what undoes them, what runs after the answer."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from pipelines.file.containers import Free, FreeTable, ListOf, MapOf, OneOrMany
from pipelines.file.durations import Amount, Timeout
from pipelines.file.policies import BREAKER, RETRY, BreakerSpec, RetrySpec
from pipelines.file.reading import Invalid
from pipelines.file.section import OwnOrNone, Record, Section, Short, key
from pipelines.file.shape import Choice, Flag, Number, Text, Whole
from pipelines.hooks import CATALOGUE
from pipelines.plan import DEFAULT_ABORT, DEFAULT_UNDO_SECONDS, Mode, OnError, Recover

__all__ = [
    "EXPRESSION",
    "HOOK",
    "NOTHING",
    "TIMEOUT",
    "WITH",
    "CompensateSpec",
    "ErrorClass",
    "FallbackSpec",
    "FinalSpec",
]
__all__ += ["AbortSpec", "NeedSpec", "NeedState", "OverrideSpec", "PipelineSpec", "SplitSpec", "StageSpec", "Verdict"]

MAX_FACTOR = 1000
"""Whoever lets a canary be a thousand times worse may as well never abort it."""

MAX_MINIMUM_CALLS = 1_000_000
"""A canary that has answered this many calls is none any more."""

DEFAULT_DEADLINE_SECONDS = 10.0
"""A gateway waits this long at most when the file says nothing; enough for a cold model."""

NOTHING: Mapping[str, object] = MappingProxyType({})

HOOK = Text("the name of a hook", known=tuple(CATALOGUE))
EXPRESSION = Text("a CEL expression", may_be_empty=True)  # CEL itself says what is wrong with nothing
TIMEOUT = Timeout()
WITH = "Configuration of the plugin, checked against its own schema; `{file: PATH}` stands for the content of a file."
_INPUTS = MapOf(Free(), named=False)
_USES = Text("PLUGIN/STAGE")


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


class NeedSpec(Section):
    """A stage that must have ended first."""

    stage: str = key(Text("the name of a stage"), "The stage needed.", default="", required=True)
    is_: tuple[NeedState | Invalid, ...] | None = key(
        ListOf(Choice(NeedState), at_least=1), "How it must have ended; succeeded or skipped when not said."
    )


class OverrideSpec(Section):
    """Other settings of a stage, used when `when` holds; the first override that matches wins."""

    when: str | None = key(EXPRESSION, "CEL over payload, context and stages.", required=True)
    with_: Mapping[str, object] = key(FreeTable(), f"{WITH} Merged over the stage's.", default=NOTHING)
    mode: Mode | None = key(Choice(Mode), "What a violation does.")
    timeout: str | None = key(TIMEOUT, "Longest time of one attempt.")
    on_error: OnError | None = key(Choice(OnError), "What an error does.")


class CompensateSpec(Section):
    """How what a stage did is undone when its run does not end in allow or modify."""

    uses: str = key(_USES, "The stage that undoes it; its manifest says `undoes`.", default="", required=True)
    with_: Mapping[str, object] = key(FreeTable(), f"{WITH} Merged over the plugin's.", default=NOTHING)
    in_: Mapping[str, object] = key(
        _INPUTS,
        'Values for `call.input`; "${...}" as a whole value is CEL over payload, context, and the stage with its '
        "ancestors. What cannot be worked out is null.",
        default=NOTHING,
    )
    retry: str | RetrySpec | None = key(
        RETRY, "How often it is tried; that of the defaults, or up to 5 times, when not said."
    )
    timeout: str | None = key(
        TIMEOUT, "Longest time of one attempt; that of the defaults, or `undo_deadline`, when not said."
    )


class FinalSpec(Section):
    """A stage that runs after the answer and after undo, and cannot change the verdict."""

    uses: str = key(_USES, "The plugin and which of its stages, as PLUGIN/STAGE.", default="", required=True)
    with_: Mapping[str, object] = key(FreeTable(), f"{WITH} Merged over the plugin's.", default=NOTHING)
    when: str | None = key(EXPRESSION, "CEL; it is skipped where it is false, or where it cannot be worked out.")
    in_: Mapping[str, object] = key(
        _INPUTS,
        'Values for `call.input`; "${...}" as a whole value is CEL over payload, context, stages and run '
        "{verdict, id, hook, pipeline, code, reason}. What cannot be worked out is null.",
        default=NOTHING,
    )
    timeout: str | None = key(TIMEOUT, "Longest time of one attempt.")
    retry: str | RetrySpec | None = key(RETRY, "How often a call is tried.")
    breaker: str | BreakerSpec | None = key(BREAKER, "When calls are no longer let through.")
    mode: Mode | None = key(Choice(Mode), "audit by default; it cannot be `enforce`.")


class AbortSpec(Section):
    """When a new generation that takes part of the calls is given up by itself."""

    errors: float = key(
        Number(1, MAX_FACTOR),
        "How many times as often as the stable generation it may fail.",
        default=DEFAULT_ABORT.error_factor,
    )
    latency: float = key(
        Number(1, MAX_FACTOR),
        "How many times as long as the stable one's its high latencies may be.",
        default=DEFAULT_ABORT.latency_factor,
    )
    minimum_calls: int = key(
        Whole(1, MAX_MINIMUM_CALLS),
        "How many calls it has answered before it is judged.",
        default=DEFAULT_ABORT.minimum_calls,
    )


class SplitSpec(Section):
    """A new generation of the stage's plugin takes part of the calls of the stage's hooks, until it is promoted or
    aborted. A call goes whole to one revision of the file, so all splits on one hook are equal."""

    canary: float = key(Number(0, 100), "Per cent of the calls that it takes.", default=0.0, required=True)
    key_: str = key(
        EXPRESSION,
        "CEL over payload and context that gives a string; calls with equal ones go the same way, but for an empty "
        "one, where each is drawn by itself. Where it cannot be worked out, the stable generation takes the call.",
        default="",
        required=True,
    )
    abort: AbortSpec = key(Record(AbortSpec), "When it is given up by itself.", default=AbortSpec())


class StageSpec(Section):
    """One stage of a pipeline."""

    uses: str = key(_USES, "The plugin and which of its stages, as PLUGIN/STAGE.", default="", required=True)
    with_: Mapping[str, object] = key(FreeTable(), f"{WITH} Merged over the plugin's.", default=NOTHING)
    needs: tuple[NeedSpec | Invalid, ...] = key(
        ListOf(Short(NeedSpec, "stage")), "Stages that must have ended first.", default=()
    )
    when: str | None = key(EXPRESSION, "CEL; the stage is skipped where it is false.")
    otherwise: Mapping[str, object] | None = key(FreeTable(), "The stage's `out` when it was skipped.")
    in_: Mapping[str, object] = key(
        _INPUTS, 'Values for `call.input`; "${...}" as a whole value is CEL.', default=NOTHING
    )
    timeout: str | None = key(TIMEOUT, "Longest time of one attempt.")
    retry: str | RetrySpec | None = key(RETRY, "How often a call is tried; once when not said.")
    breaker: str | BreakerSpec | None = key(BREAKER, "When calls are no longer let through.")
    compensate: str | CompensateSpec | None = key(
        OwnOrNone(CompensateSpec),
        'How it is undone; a stage whose manifest says `effects = "external"` needs it, or `none`, which waives it.',
    )
    mode: Mode | None = key(Choice(Mode), "What a violation does: enforce by default.")
    on_error: OnError | None = key(
        Choice(OnError), "What an error does: fail by default where the mode is enforce, continue elsewhere."
    )
    split: SplitSpec | None = key(
        Record(SplitSpec), "Which part of the calls a new generation takes at first; all of them when not said."
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

    hook: tuple[str | Invalid, ...] = key(OneOrMany(HOOK), "The hook, or hooks.", default=(), required=True)
    match: str | None = key(EXPRESSION, "CEL; the pipeline applies where it is true.")
    deadline: float = key(Amount(), "Longest time of a whole run.", default=DEFAULT_DEADLINE_SECONDS)
    stages: Mapping[str, StageSpec] = key(
        MapOf(Record(StageSpec)), "The stages by name.", default=NOTHING, required=True
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
        MapOf(Record(FinalSpec)), "Stages that run side by side after the answer and after undo.", default=NOTHING
    )
