"""The fleet: every generation of a host, started side by side, each with an owner that stops it when it is let go."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Protocol

from isolation.errors import EnvironmentBuildError, StartError
from isolation.generation import Generation
from isolation.manifest.values import Reload
from isolation.plugin_log import LogLine
from isolation.spec import WorkerSpec
from isolation.status import GenerationEvent
from isolation.store.events import BuildEvent
from isolation.store.store import PreparationErrors, Prepared, Store
from isolation.supervision import Intensity
from orchestrator.loading import Loaded
from orchestrator.secrets import Handover, without_secrets
from pipelines.plan import PluginPlan, RestartPolicy

__all__ = ["Fleet", "Hearer", "StartEvent", "StartFailures", "Wanted", "named_as_in", "prepare", "wanted_of"]


@dataclass(frozen=True, slots=True)
class StartEvent:
    """One moment of a plugin's way into service. `phase` is the store's (see BuildEvent), or start, ready, failed."""

    plugin: str
    phase: str
    detail: str = ""
    fraction: float | None = None


Report = Callable[[StartEvent], None]


class Hearer(Protocol):
    """Who hears what plugins log."""

    def __call__(self, spec: WorkerSpec, worker: str, line: LogLine, /) -> None:
        """Take a line of a worker."""


class StartFailures(StartError):
    """Plugins that could not be started; every one of them is in `failures`."""

    def __init__(self, failures: tuple[StartError, ...]) -> None:
        super().__init__("\n".join(str(failure) for failure in failures))
        self.failures = failures
        self.hint = failures[0].hint


@dataclass(frozen=True, slots=True)
class Wanted:
    """A generation that is to be: everything that its workers are started with."""

    spec: WorkerSpec
    plugin: PluginPlan
    configs: Mapping[str, object]
    """The table that its workers are configured with; it holds secrets, and is silent about them."""
    alone: bool = False
    """Whether it bears no second generation of its plugin."""


def wanted_of(loaded: Loaded, prepared: Mapping[str, Prepared], handed: Mapping[str, Handover]) -> dict[str, Wanted]:
    """What a plan asks for, by the plugin's name in the file."""
    environ = without_secrets(loaded.plan, os.environ)
    manifests = loaded.manifests
    return {
        name: Wanted(
            WorkerSpec.of(name, manifests[name], prepared[name], environ),
            plugin,
            handed[name].table,
            manifests[name].reload is Reload.REPLACE,
        )
        for name, plugin in loaded.plan.plugins.items()
    }


def prepare(loaded: Loaded, store: Store, report: Report) -> dict[str, Prepared]:
    """Build what is missing of a plan. Blocks; raises EnvironmentBuildError. `report` is told from threads."""
    plugins = loaded.plan.plugins

    def built(event: BuildEvent) -> None:
        """Pass on what the store tells; it knows a plugin by its manifest, the operator by the name in the file."""
        for name, manifest in loaded.manifests.items():
            if manifest.name == event.plugin:
                report(StartEvent(name, event.phase, event.detail, event.fraction))

    wanted = [(loaded.manifests[name], plugin.extras) for name, plugin in plugins.items()]
    with named_as_in(loaded):
        return dict(zip(plugins, store.prepare_all(wanted, built), strict=True))


@contextmanager
def named_as_in(loaded: Loaded) -> Iterator[None]:
    """Let what the store refuses name plugins as the file does; a manifest's name may stand nowhere in it."""
    try:
        yield
    except PreparationErrors as error:
        renamed = [_renamed(one, loaded) for one in error.errors]
        raise PreparationErrors(sorted(renamed, key=lambda one: one.plugin)) from error
    except EnvironmentBuildError as error:
        raise _renamed(error, loaded) from error


def _renamed(error: EnvironmentBuildError, loaded: Loaded) -> EnvironmentBuildError:
    names = [name for name, manifest in loaded.manifests.items() if manifest.name == error.plugin]
    known = ", ".join(names) or error.plugin
    return EnvironmentBuildError(known, error.message, hint=error.hint, resolver=error.resolver)


@dataclass(slots=True)
class _Berth:
    """Where a generation lies: its owner, and what is said to it and by it."""

    alone: bool
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    owner: asyncio.Task[None] | None = None


class Fleet:
    """Use it as an async context manager; leaving stops every generation.

    `notify` hears what becomes of workers, `hear` what plugins log.
    """

    def __init__(self, notify: Callable[[GenerationEvent], None], hear: Hearer | None = None) -> None:
        self._notify = notify
        self._hear = hear
        self._berths: dict[Generation, _Berth] = {}
        self._owners = asyncio.TaskGroup()
        self._closing = False

    async def __aenter__(self) -> Fleet:
        await self._owners.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        for berth in self._berths.values():
            berth.let_go.set()
        await self._owners.__aexit__(kind, error, trace)

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Everything that has processes, or is about to."""
        return tuple(self._berths)

    async def start(
        self, wanted: Mapping[str, Wanted], report: Report = lambda event: None, *, keep_failed: bool = False
    ) -> dict[str, Generation]:
        """Start all of them side by side; where any fails, say so of every one that did. Raises StartFailures.

        None of them is left running then, nor when it is given up, unless failed ones are to be kept: they answer their
        calls at once, and wait for somebody to ask for a restart. What bears no second is never started beside one.
        """
        if self._closing and wanted:
            raise StartFailures(tuple(StartError(f"{name}: the host is stopping") for name in wanted))
        crowded = tuple(_second(name) for name, each in wanted.items() if self._is_second(name, each))
        if crowded and not keep_failed:
            raise StartFailures(crowded)
        fresh = {name: self._begin(name, each, report) for name, each in wanted.items()}
        try:
            ends = await asyncio.gather(*(self._started(generation, report) for generation in fresh.values()))
        except BaseException:
            await asyncio.gather(*map(self.stop, fresh.values()))
            raise
        failures = tuple(end for end in ends if end is not None)
        if failures and not keep_failed:
            await asyncio.gather(*map(self.stop, fresh.values()))
            raise StartFailures(failures)
        return fresh

    async def stop(self, generation: Generation) -> None:
        """Stop every worker of a generation. Bounded by the stop ladder."""
        berth = self._berths.get(generation)
        if berth is not None:
            berth.let_go.set()
            assert berth.owner is not None
            await asyncio.shield(berth.owner)

    def _is_second(self, name: str, wanted: Wanted) -> bool:
        others = (berth for each, berth in self._berths.items() if each.spec.plugin == name)
        return any(wanted.alone or berth.alone for berth in others)

    def _begin(self, name: str, wanted: Wanted, report: Report) -> Generation:
        generation = self._generation(name, wanted, report)
        berth = self._berths[generation] = _Berth(wanted.alone)
        berth.owner = self._owners.create_task(self._own(generation, berth))
        report(StartEvent(name, "start"))
        return generation

    async def _own(self, generation: Generation, berth: _Berth) -> None:
        """Keep a generation from its start until nobody needs it."""
        try:
            await generation.open()
            berth.opened.set()
            try:
                await berth.let_go.wait()
            finally:
                await generation.close()
        finally:
            del self._berths[generation]

    async def _started(self, generation: Generation, report: Report) -> StartError | None:
        name = generation.spec.plugin
        await self._berths[generation].opened.wait()
        try:
            await generation.started()
        except StartError as error:
            report(StartEvent(name, "failed", str(error)))
            return error
        report(StartEvent(name, "ready", generation.spec.name, 1.0))
        return None

    def _generation(self, name: str, wanted: Wanted, report: Report) -> Generation:
        plugin = wanted.plugin

        def told(message: str, fraction: float | None) -> None:
            report(StartEvent(name, "start", message, fraction))

        return Generation(
            wanted.spec,
            wanted.configs,
            replicas=plugin.replicas,
            concurrency=plugin.concurrency,
            queue=plugin.queue,
            intensity=_intensity(plugin.restart),
            report=told,
            notify=self._notify,
            hear=None if self._hear is None else partial(self._hear, wanted.spec),
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


def _second(name: str) -> StartError:
    return StartError(f"{name}: another generation of it is still needed, and it bears no second one")
