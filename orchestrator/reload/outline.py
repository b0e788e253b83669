"""A plan in outline: all that a change could change of it, as comparable values, without what makes it run.

Two outlines are equal exactly when nothing has to be done to get from one to the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isolation.manifest.values import Manifest, Reload
from isolation.spec import child_environment
from orchestrator.reload.plain import facets_of, plain_text
from pipelines.declaration import Asks
from pipelines.hooks import CATALOGUE
from pipelines.plan import PipelinePlan, Plan, PluginPlan, StagePlan

if TYPE_CHECKING:
    from isolation.store.preview import Preview

__all__ = ["Outline", "PipelineOutline", "PluginOutline", "SplitOutline", "outline_of"]

NOT_ASKED = ""
"""What stands for the secrets of a plugin that is handed none."""


@dataclass(frozen=True, slots=True)
class PluginOutline:
    """A plugin as it is, or would be, in service. `name` is its name in the file, `plugin` the one in its manifest.

    `fingerprint` is None where it needs no environment. `locked` has the version of each distribution. `process` holds
    all else that is settled when a process starts: its command line, its variables. `configs` has the ids of its
    configurations, which name their content; `secrets` says which values it is handed without telling them.
    """

    name: str
    plugin: str
    source: str
    digest: str
    fingerprint: str | None = None
    environment_ready: bool = True
    version: str = ""
    api: str = ""
    requires_python: str | None = None
    locked: Mapping[str, str] = field(default_factory=dict)
    asks: Asks = Asks()
    grant: Asks = Asks()
    reload: Reload = Reload.OVERLAP
    replicas: int = 1
    concurrency: int | None = None
    queue: int = 0
    restart: str = ""
    process: str = ""
    configs: frozenset[str] = frozenset()
    secrets: str = NOT_ASKED

    @property
    def generation(self) -> Mapping[str, object]:
        """What makes its generation that one and no other, by the word for it."""
        return {
            "code": self.digest,
            "environment": self.fingerprint,
            "process": self.process,
            "reload": self.reload,
            "replicas": self.replicas,
            "concurrency": self.concurrency,
            "queue": self.queue,
            "restart": self.restart,
        }

    @property
    def table(self) -> Mapping[str, object]:
        """What its workers can be told anew while they run, by the word for it."""
        return {"with": self.configs, "secrets": self.secrets}


@dataclass(frozen=True, slots=True)
class PipelineOutline:
    """One pipeline on one hook. `facets` and those of each stage are texts, by the word for each.

    A stage of `finally` has `finally/` before its name.
    """

    name: str
    hook: str
    facets: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SplitOutline:
    """How the calls of a hook are split while new generations of `plugins` are on trial; `text` has all of it."""

    plugins: tuple[str, ...]
    percent: float
    text: str


@dataclass(frozen=True, slots=True)
class Outline:
    """A whole plan. `routes` has the pipelines of each hook in order; `hooks` has the hooks that the file declares.

    `splits` has the split of each hook that has one. `secrets` has where each secret is found, and which of them a
    plugin is handed by which name, but never one itself. `warnings` and `problems` are sentences about the plan itself;
    they make no difference.
    """

    name: str = ""
    plugins: Mapping[str, PluginOutline] = field(default_factory=dict)
    routes: Mapping[str, tuple[PipelineOutline, ...]] = field(default_factory=dict)
    unmatched: Mapping[str, str] = field(default_factory=dict)
    hooks: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, SplitOutline] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def outline_of(
    plan: Plan,
    manifests: Mapping[str, Manifest],
    previews: Mapping[str, Preview],
    host: Mapping[str, str],
    secrets: Mapping[str, str] | None = None,
) -> Outline:
    """The outline of a plan whose plugins the store knows as `previews`, on a host with the variables `host`.

    `secrets` has a fingerprint of the secrets that each plugin is handed; none where it is handed none.
    """
    handed = secrets or {}
    return Outline(
        name=plan.name,
        plugins={
            name: _plugin(plugin, manifests[name], previews[name], host, handed.get(name, NOT_ASKED))
            for name, plugin in plan.plugins.items()
        },
        routes={hook: tuple(map(_pipeline, route)) for hook, route in plan.routes.items()},
        unmatched={hook: verdict.value for hook, verdict in plan.unmatched.items()},
        hooks={name: plain_text(hook) for name, hook in plan.hooks.items() if CATALOGUE.get(name) != hook},
        splits={hook: split for hook, route in plan.routes.items() if (split := _split(route)) is not None},
        secrets=dict(_secrets(plan)),
        warnings=tuple(map(str, plan.warnings)),
    )


def _secrets(plan: Plan) -> Iterator[tuple[str, str]]:
    for name, secret in plan.secrets.items():
        yield name, f"{secret.source.value} {secret.where}"
    for plugin in plan.plugins.values():
        for own, name in plugin.secrets.items():
            yield f"{plugin.name}.{own}", name


def _split(route: Iterable[PipelinePlan]) -> SplitOutline | None:
    """The split of a hook; by lint, all of its stages have the same."""
    trying = [(stage.plugin, stage.split) for pipeline in route for stage in pipeline.stages if stage.split is not None]
    if not trying:
        return None
    split = trying[0][1]
    return SplitOutline(tuple(sorted({plugin for plugin, _ in trying})), split.percent, plain_text(split))


def _plugin(
    plan: PluginPlan, manifest: Manifest, preview: Preview, host: Mapping[str, str], secrets: str
) -> PluginOutline:
    asks = manifest.permissions
    return PluginOutline(
        name=plan.name,
        plugin=manifest.name,
        source=plan.source,
        digest=preview.digest,
        fingerprint=preview.fingerprint,
        environment_ready=preview.environment_ready,
        version=manifest.version,
        api=manifest.api,
        requires_python=manifest.requires_python,
        locked=preview.locked,
        asks=Asks(asks.network, asks.filesystem, asks.subprocess, (*asks.secrets, *asks.optional_secrets)),
        grant=plan.grant,
        reload=manifest.reload,
        replicas=plan.replicas,
        concurrency=plan.concurrency,
        queue=plan.queue,
        restart=plain_text(plan.restart),
        process=_process(manifest, preview, host),
        configs=frozenset(plan.configs),
        secrets=secrets,
    )


def _process(manifest: Manifest, preview: Preview, host: Mapping[str, str]) -> str:
    """Name what `WorkerSpec.of` takes from elsewhere than the files, without telling the values of variables."""
    variables = child_environment(host, manifest.env_pass, manifest.env_set)
    # The data of a plugin belongs to its place: the same files elsewhere have other data.
    data = str(manifest.script or manifest.root) if manifest.data else None
    said = plain_text([manifest.name, manifest.version, str(preview.python), data, sorted(variables.items())])
    return hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()[:32]


_PIPELINE_WORDS = {"confirm": "confirm_within", "undo": "undo_deadline"}
_STAGE_WORDS = {"inputs": "in", "undo": "compensate"}
_VARIANT_WORDS = {"config": "with"}


def _pipeline(plan: PipelinePlan) -> PipelineOutline:
    facets = facets_of(plan, frozenset({"name", "hook", "stages", "finals"}))
    stages = {stage.id: _stage(stage, plan) for stage in plan.stages}
    finals = {f"finally/{stage.id}": _stage(stage, plan) for stage in plan.finals}
    return PipelineOutline(plan.name, plan.hook.name, _renamed(facets, _PIPELINE_WORDS), {**stages, **finals})


def _stage(plan: StagePlan, pipeline: PipelinePlan) -> dict[str, str]:
    # Indices say where a stage stands among the others; what it needs is told by names.
    facets = facets_of(plan, frozenset({"id", "index", "ancestors", "needs", "variants"}))
    *overrides, written = plan.variants
    own = facets_of(written, frozenset({"when"}))
    needs = [_need(pipeline.stages[need.stage].id, need.states) for need in plan.needs]
    return {
        **_renamed(facets, _STAGE_WORDS),
        **_renamed(own, _VARIANT_WORDS),
        **({"needs": ", ".join(sorted(needs))} if needs else {}),
        **({"overrides": plain_text(overrides)} if overrides else {}),
    }


def _need(stage: str, states: frozenset[object] | None) -> str:
    return stage if states is None else f"{stage} is {plain_text(states)}"


def _renamed(facets: Mapping[str, str], words: Mapping[str, str]) -> dict[str, str]:
    """The facets by the words of the pipeline file."""
    return {words.get(name, name): text for name, text in facets.items()}
