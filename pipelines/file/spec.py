"""The keys of a pipeline file: one class per section, one line per key. Reading, the JSON Schema and
`penstock explain` are all made from these tables. What the values mean together is checked in `pipelines.lint`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from pipelines.file.containers import Free, FreeTable, ListOf, MapOf, OneOrMany
from pipelines.file.durations import Amount, Timeout
from pipelines.file.reading import Invalid, Shape
from pipelines.file.section import Overlay, Record, Section, Short, key
from pipelines.file.shape import Choice, Exactly, Flag, Text, Whole
from pipelines.hooks import CATALOGUE
from pipelines.plan import Mode, OnError, Unmatched

__all__ = ["CaseSpec", "ErrorClass", "FileSpec", "GrantSpec", "HookSpec", "NeedState", "OverrideSpec", "PipelineSpec"]
__all__ += ["PROFILE", "PluginSpec", "StageSpec", "Verdict"]

DEFAULT_DEADLINE_SECONDS = 10.0
"""A gateway waits this long at most when the file says nothing; enough for a cold model."""

MAX_REPLICAS = 64
"""More processes of one plugin than any gateway host has cores to give."""

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


class PoliciesSpec(Section):
    """Named values to use in stages."""

    LATER: ClassVar[Mapping[str, str]] = {"retries": "retries", "breakers": "circuit breakers", "limits": "limits"}
    timeouts: Mapping[str, float] = key(MapOf(Amount()), "Timeouts by name.", default=_NOTHING)


class StageDefaults(Section):
    """What stages do unless they say otherwise."""

    LATER: ClassVar[Mapping[str, str]] = {"retry": "retries", "breaker": "circuit breakers"}
    timeout: str | None = key(_TIMEOUT, "Longest time of one attempt.")
    mode: Mode | None = key(Choice(Mode), "What a violation does.")
    on_error: OnError | None = key(Choice(OnError), "What an error does.")


class PluginDefaults(Section):
    """What plugins have unless they say otherwise."""

    LATER: ClassVar[Mapping[str, str]] = {"limits": "limits"}
    replicas: int | None = key(Whole(1, MAX_REPLICAS), "How many equal workers serve a plugin.")


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


class StageSpec(Section):
    """One stage of a pipeline."""

    LATER: ClassVar[Mapping[str, str]] = {
        "retry": "retries",
        "breaker": "circuit breakers",
        "split": "splitting calls between generations",
        "compensate": "compensation",
    }
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
        MapOf(Free(), named=False), 'Values for `call.input`; "${...}" as a whole value is CEL.', default=_NOTHING
    )
    timeout: str | None = key(_TIMEOUT, "Longest time of one attempt.")
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

    LATER: ClassVar[Mapping[str, str]] = {
        "durable": "durable runs",
        "confirm_within": "confirmation of verdicts",
        "recover": "recovery of runs",
        "undo_deadline": "compensation",
        "finally": "stages after the answer",
    }
    hook: tuple[str | Invalid, ...] = key(OneOrMany(_HOOK), "The hook, or hooks.", default=(), required=True)
    match: str | None = key(_EXPRESSION, "CEL; the pipeline applies where it is true.")
    deadline: float = key(Amount(), "Longest time of a whole run.", default=DEFAULT_DEADLINE_SECONDS)
    stages: Mapping[str, StageSpec] = key(
        MapOf(Record(StageSpec)), "The stages by name.", default=_NOTHING, required=True
    )
    fallback: FallbackSpec | None = key(Record(FallbackSpec), "What to answer when a run fails.")


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
