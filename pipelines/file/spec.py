"""The keys of a pipeline file: one class per section, one line per key. Reading, the JSON Schema and
`penstock explain` are all made from these tables. What the values mean together is checked in `pipelines.lint`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pipelines.file.containers import FreeTable, ListOf, MapOf
from pipelines.file.durations import Amount
from pipelines.file.policies import BREAKER, RESTART, RETRY, BreakerSpec, RestartSpec, RetrySpec
from pipelines.file.reading import Invalid, Shape
from pipelines.file.section import Overlay, Record, Section, key
from pipelines.file.shape import Choice, Exactly, Flag, Text, Whole
from pipelines.file.stages import EXPRESSION, HOOK, NOTHING, TIMEOUT, WITH, PipelineSpec
from pipelines.plan import DEFAULT_QUEUE, Mode, OnError, SecretSource, Unmatched

__all__ = ["PROFILE", "CaseSpec", "FileSpec", "GrantSpec", "HookSpec", "PluginDefaults", "PluginSpec", "PoliciesSpec"]
__all__ += ["SecretSpec", "StageDefaults"]

MAX_REPLICAS = 64
"""More processes of one plugin than any gateway host has cores to give."""

MAX_CONCURRENCY = 65_536
"""More calls of one plugin at once than a host has memory to answer."""

MAX_QUEUE = 1_000_000
"""This many calls that wait, of a kilobyte each, hold a gigabyte."""


_CONCURRENCY = Whole(1, MAX_CONCURRENCY)
_QUEUE = Whole(0, MAX_QUEUE)


class GrantSpec(Section):
    """Permissions given to a plugin; what its manifest asks for must stand here."""

    network: tuple[str | Invalid, ...] = key(ListOf(Text("`host:port`")), "Hosts it may reach.", default=())
    filesystem: tuple[str | Invalid, ...] = key(ListOf(Text("a path")), "Paths it may use.", default=())
    subprocess: bool = key(Flag(), "Whether it may start processes.", default=False)
    secrets: tuple[str | Invalid, ...] = key(ListOf(Text("a name")), "Secrets it may be handed.", default=())


class SecretSpec(Section):
    """Where the value of a secret is found. It is read when plugins are started or given new configurations, handed to
    those that ask for it, and shown nowhere."""

    from_: SecretSource | None = key(Choice(SecretSource), "What holds it.", required=True)
    path: str | None = key(
        Text("a path"), "The file, relative to this one, where it is from a `file`; a newline at its end is dropped."
    )
    name: str | None = key(
        Text("the name of a variable", r"[A-Za-z_][A-Za-z0-9_]*"), "The variable of the host, where it is from `env`."
    )


class PluginSpec(Section):
    """A plugin: its own environment and its own processes."""

    LATER: ClassVar[Mapping[str, str]] = {
        "lock": "locks of published plugins",
        "limits": "limits",
    }
    source: str = key(Text("a path"), "Folder or file of the plugin, relative to this file.", default="", required=True)
    version: str | None = key(
        Text("a version specifier"), "Versions of it that may be used, like `>=1.2,<2` (PEP 440); any when not said."
    )
    replicas: int | None = key(Whole(1, MAX_REPLICAS), "How many equal workers serve it.")
    with_: Mapping[str, object] = key(FreeTable(), WITH, default=NOTHING)
    grant: GrantSpec = key(Record(GrantSpec), "Permissions it is given.", default=GrantSpec())
    secrets: Mapping[str, str] = key(
        MapOf(Text("the name of a secret"), named=False),
        "Secrets it is handed: each that its manifest asks for and `grant` gives, by the plugin's own name for it.",
        default=NOTHING,
    )
    extras: tuple[str | Invalid, ...] | None = key(
        ListOf(Text("a name")), "Optional dependencies to install instead of those its manifest chooses."
    )
    concurrency: int | None = key(
        _CONCURRENCY, "How many calls its workers have at once; as many as they take when not said."
    )
    queue: int | None = key(_QUEUE, f"How many calls may wait for it, {DEFAULT_QUEUE} by default; over it, it is busy.")
    restart: str | RestartSpec | None = key(RESTART, "When its workers are started again.")


class PoliciesSpec(Section):
    """Named values to use in stages and plugins."""

    LATER: ClassVar[Mapping[str, str]] = {"limits": "limits"}
    timeouts: Mapping[str, float] = key(MapOf(Amount()), "Timeouts by name.", default=NOTHING)
    retries: Mapping[str, RetrySpec] = key(MapOf(Record(RetrySpec)), "Retry policies by name.", default=NOTHING)
    breakers: Mapping[str, BreakerSpec] = key(MapOf(Record(BreakerSpec)), "Breaker policies by name.", default=NOTHING)
    restarts: Mapping[str, RestartSpec] = key(MapOf(Record(RestartSpec)), "Restart policies by name.", default=NOTHING)


class StageDefaults(Section):
    """What stages do unless they say otherwise."""

    timeout: str | None = key(TIMEOUT, "Longest time of one attempt.")
    retry: str | RetrySpec | None = key(
        RETRY, "How often a call is tried; where a stage is not idempotent, only after Busy and Retryable."
    )
    breaker: str | BreakerSpec | None = key(BREAKER, "When calls are no longer let through.")
    mode: Mode | None = key(Choice(Mode), "What a violation does.")
    on_error: OnError | None = key(Choice(OnError), "What an error does.")


class PluginDefaults(Section):
    """What plugins have unless they say otherwise."""

    LATER: ClassVar[Mapping[str, str]] = {"limits": "limits"}
    replicas: int | None = key(Whole(1, MAX_REPLICAS), "How many equal workers serve a plugin.")
    concurrency: int | None = key(_CONCURRENCY, "How many calls the workers of a plugin have at once.")
    queue: int | None = key(_QUEUE, "How many calls may wait for a plugin.")
    restart: str | RestartSpec | None = key(RESTART, "When the workers of a plugin are started again.")


class DefaultsSpec(Section):
    """Values for every stage and plugin that does not have its own."""

    stage: StageDefaults = key(Record(StageDefaults), "Defaults of stages.", default=StageDefaults())
    plugin: PluginDefaults = key(Record(PluginDefaults), "Defaults of plugins.", default=PluginDefaults())


class HookSpec(Section):
    """What a hook does when no pipeline applies; with any other key, a hook of your own."""

    unmatched: Unmatched | None = key(
        Choice(Unmatched),
        "Verdict when no pipeline applies: deny by default for admission hooks that the file has a pipeline, or an "
        "admission stage, for.",
    )
    summary: str | None = key(Text(), "What the hook is for (own hooks).")
    payload: Mapping[str, object] | None = key(FreeTable(), "Fields of the payload and their kinds (own hooks).")
    answer: Mapping[str, object] | None = key(
        FreeTable(), "Fields of the answer where it is not the payload (own hooks)."
    )
    can_deny: bool | None = key(Flag(), "Whether the gateway obeys a denial (own hooks; true by default).")
    denial: str | None = key(Text(), "How the gateway expresses a denial (own hooks).")


class CaseSpec(Section):
    """One test, run by `penstock test`."""

    name: str = key(Text(), "What it shows.", default="", required=True)
    pipeline: str = key(Text("the name of a pipeline"), "The pipeline it runs.", default="", required=True)
    hook: str | None = key(HOOK, "Which of the pipeline's hooks; the first when not said.")
    payload: Mapping[str, object] = key(FreeTable(), "The payload of the call.", default=NOTHING, required=True)
    context: Mapping[str, object] = key(FreeTable(), "The context of the call.", default=NOTHING)
    mock: Mapping[str, object] = key(
        MapOf(FreeTable(), named=False), "Answers given in the stead of stages, by stage.", default=NOTHING
    )
    expect: tuple[str | Invalid, ...] = key(
        ListOf(EXPRESSION, at_least=1), "CEL over run and stages; all must hold.", default=(), required=True
    )


_OVERLAID: Mapping[str, tuple[Shape, str]] = {
    "plugins": (MapOf(Record(PluginSpec)), "Plugins by name."),
    "secrets": (MapOf(Record(SecretSpec)), "Secrets by name: where their values are found."),
    "policies": (Record(PoliciesSpec), "Named values."),
    "defaults": (Record(DefaultsSpec), "Values for stages and plugins that do not have their own."),
    "hooks": (MapOf(Record(HookSpec)), "Hooks: what happens unmatched, and hooks of your own."),
    "pipelines": (MapOf(Record(PipelineSpec)), "Pipelines by name; several on one hook run in this order."),
    "tests": (ListOf(Record(CaseSpec)), "Tests, run by `penstock test`."),
}


class _Overlaid(Section):
    """What a profile may change."""


PROFILE = Overlay(_Overlaid, frozenset(_OVERLAID))


class FileSpec(Section):
    """The whole file, includes and profile merged."""

    version: int = key(Exactly(1), "Version of this language.", default=1, required=True)
    name: str = key(Text(), "What the file is called in logs and metrics.", default="", required=True)
    include: tuple[str | Invalid, ...] = key(
        ListOf(Text("a path")), "Files merged into this one, relative to it.", default=()
    )
    secrets: Mapping[str, SecretSpec] = key(*_OVERLAID["secrets"], default=NOTHING)
    plugins: Mapping[str, PluginSpec] = key(*_OVERLAID["plugins"], default=NOTHING)
    policies: PoliciesSpec = key(*_OVERLAID["policies"], default=PoliciesSpec())
    defaults: DefaultsSpec = key(*_OVERLAID["defaults"], default=DefaultsSpec())
    hooks: Mapping[str, HookSpec] = key(*_OVERLAID["hooks"], default=NOTHING)
    pipelines: Mapping[str, PipelineSpec] = key(*_OVERLAID["pipelines"], default=NOTHING)
    tests: tuple[CaseSpec | Invalid, ...] = key(*_OVERLAID["tests"], default=())
    profiles: Mapping[str, object] = key(
        MapOf(PROFILE), "Overlays by name, laid over the file with `--profile`; null deletes.", default=NOTHING
    )
