"""The generations of one plan: prepared in the store, started side by side, stopped together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from isolation.errors import StartError
from isolation.generation import Generation
from isolation.spec import WorkerSpec
from isolation.status import GenerationEvent
from isolation.store.events import BuildEvent
from isolation.store.store import Prepared, Store
from isolation.supervision import Intensity
from orchestrator.loading import Loaded
from orchestrator.secrets import Handover, Vault, without_secrets
from pipelines.plan import RestartPolicy

__all__ = ["Generations", "StartEvent", "StartFailures"]


@dataclass(frozen=True, slots=True)
class StartEvent:
    """One moment of a plugin's way into service. `phase` is the store's (see BuildEvent), or start, ready, failed."""

    plugin: str
    phase: str
    detail: str = ""
    fraction: float | None = None


class StartFailures(StartError):
    """Plugins that could not be started; every one of them is in `failures`."""

    def __init__(self, failures: tuple[StartError, ...]) -> None:
        super().__init__("\n".join(str(failure) for failure in failures))
        self.failures = failures
        self.hint = failures[0].hint


class Generations:
    """`by_name` has the generation of every plugin of the plan, by its name in the file, `handed` what it was handed.

    `report` is told of every step, from other threads too; `notify` of what becomes of workers later.
    """

    def __init__(
        self,
        loaded: Loaded,
        vault: Vault,
        *,
        report: Callable[[StartEvent], None],
        notify: Callable[[GenerationEvent], None],
    ) -> None:
        self.by_name: dict[str, Generation] = {}
        self.handed: Mapping[str, Handover] = {}
        self._loaded = loaded
        self._vault = vault
        self._report = report
        self._notify = notify
        self._stack = AsyncExitStack()

    def prepare(self, store: Store) -> dict[str, Prepared]:
        """Build what is missing. Blocks; raises EnvironmentBuildError."""
        plugins = self._loaded.plan.plugins
        wanted = [(self._loaded.manifests[name], plugin.extras) for name, plugin in plugins.items()]
        return dict(zip(plugins, store.prepare_all(wanted, self._built), strict=True))

    def _built(self, event: BuildEvent) -> None:
        """Pass on what the store tells; it knows a plugin by its manifest, the operator by the name in the file."""
        for name, manifest in self._loaded.manifests.items():
            if manifest.name == event.plugin:
                self._report(StartEvent(name, event.phase, event.detail, event.fraction))

    async def start(self, prepared: Mapping[str, Prepared]) -> None:
        """Start all plugins side by side; when any fails, say so of every one that did.

        Raises StartFailures, and SecretError before anything is started where a secret is not to be had.

        `close` must follow, in the same asyncio task, also after a failure.
        """
        self.handed = await asyncio.to_thread(self._vault.hand_over, self._loaded.plan)
        for name in self._loaded.plan.plugins:
            generation = self.by_name[name] = self._generation(name, prepared[name])
            self._report(StartEvent(name, "start"))
            await generation.open()
            self._stack.push_async_callback(generation.close)
        ends = await asyncio.gather(*map(self._started, self.by_name.values()))
        failures = tuple(end for end in ends if end is not None)
        if failures:
            raise StartFailures(failures)

    @property
    def config_ids(self) -> dict[str, Mapping[str, str]]:
        """By plugin, what its workers call the configurations of the plan."""
        return {name: handover.ids for name, handover in self.handed.items()}

    async def close(self) -> None:
        """Stop every worker. Bounded by the stop ladder."""
        await self._stack.aclose()

    async def _started(self, generation: Generation) -> StartError | None:
        name = generation.spec.plugin
        try:
            await generation.started()
        except StartError as error:
            self._report(StartEvent(name, "failed", str(error)))
            return error
        self._report(StartEvent(name, "ready", generation.spec.name, 1.0))
        return None

    def _generation(self, name: str, prepared: Prepared) -> Generation:
        plugin = self._loaded.plan.plugins[name]
        environ = without_secrets(self._loaded.plan, os.environ)
        spec = WorkerSpec.of(name, self._loaded.manifests[name], prepared, environ)

        def report(message: str, fraction: float | None) -> None:
            self._report(StartEvent(name, "start", message, fraction))

        return Generation(
            spec,
            self.handed[name].table,
            replicas=plugin.replicas,
            concurrency=plugin.concurrency,
            queue=plugin.queue,
            intensity=_intensity(plugin.restart),
            report=report,
            notify=self._notify,
        )


def _intensity(policy: RestartPolicy | None) -> Intensity | None:
    """The policy in the words of `isolation`."""
    if policy is None:
        return None
    return Intensity(
        restarts=policy.intensity,
        period_seconds=policy.period_seconds,
        first_seconds=policy.initial_seconds,
        longest_seconds=policy.longest_seconds,
        factor=policy.factor,
    )
