"""A pipeline file in service: environments prepared, workers ready, calls answered. Embeds without a daemon."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType

import msgspec

from isolation.errors import StartError
from isolation.generation import Generation
from isolation.spec import WorkerSpec
from isolation.store.events import BuildEvent
from isolation.store.store import Prepared, Store
from isolation.supervision import Intensity
from orchestrator.engine import NO_DEADLINE_SECONDS, Engine, HookCall, Reply
from orchestrator.loading import Loaded
from orchestrator.records import records_of
from orchestrator.resilience.breakers import Breakers
from orchestrator.wiring import routes_of
from pipelines.body import Body
from pipelines.plan import RestartPolicy

__all__ = ["HookResult", "Orchestrator", "StartEvent", "StartFailures"]


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


class HookResult(msgspec.Struct, frozen=True):
    """The answer to a hook's call. `payload` is JSON bytes; `records` are the objects of `penstock run --json`."""

    reply: Reply

    @property
    def verdict(self) -> str:
        """allow, modify or deny."""
        return self.reply.verdict

    @property
    def payload(self) -> bytes:
        """The payload as the pipelines left it; as it came in where the verdict is deny."""
        return self.reply.payload

    @property
    def records(self) -> list[dict[str, object]]:
        """One object a run, made when asked for."""
        return records_of(self.reply)


def _intensity(policy: RestartPolicy | None) -> Intensity | None:
    """The policy in `isolation`'s words; None leaves it to the generation's own default."""
    if policy is None:
        return None
    return Intensity(
        restarts=policy.intensity,
        period_seconds=policy.period_seconds,
        first_seconds=policy.initial_seconds,
        longest_seconds=policy.longest_seconds,
        factor=policy.factor,
    )


class Orchestrator:
    """Use it as an async context manager: inside, every plugin is ready.

    Entering raises EnvironmentBuildError and StartFailures. `report` is told of every step; it is called from other
    threads too.
    """

    def __init__(self, loaded: Loaded, store: Store, *, report: Callable[[StartEvent], None] | None = None) -> None:
        self.loaded = loaded
        self.store = store
        self.generations: dict[str, Generation] = {}
        self._report = report or (lambda event: None)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Orchestrator:
        prepared = await asyncio.to_thread(self._prepare)
        try:
            await self._start(prepared)
        except BaseException:
            await self._stack.aclose()
            raise
        plan = self.loaded.plan
        self.breakers = Breakers(time.monotonic)
        routes = routes_of(plan.routes, self.generations, self.breakers, random.Random().uniform)
        self.engine = Engine(routes, plan.unmatched, frozenset(plan.hooks), asyncio.get_running_loop())
        self._stack.push_async_callback(self.engine.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _prepare(self) -> dict[str, Prepared]:
        plugins = self.loaded.plan.plugins
        wanted = [(self.loaded.manifests[name], plugin.extras) for name, plugin in plugins.items()]
        return dict(zip(plugins, self.store.prepare_all(wanted, self._built), strict=True))

    def _built(self, event: BuildEvent) -> None:
        """Pass on what the store tells; it knows a plugin by its manifest, the operator by the name in the file."""
        for name, manifest in self.loaded.manifests.items():
            if manifest.name == event.plugin:
                self._report(StartEvent(name, event.phase, event.detail, event.fraction))

    async def _start(self, prepared: Mapping[str, Prepared]) -> None:
        """Start all plugins side by side; when any fails, say so of every one that did."""
        for name in prepared:
            generation = self.generations[name] = self._generation(name, prepared[name])
            self._report(StartEvent(name, "start"))
            await generation.open()
            self._stack.push_async_callback(generation.close)
        ends = await asyncio.gather(*map(self._started, self.generations.values()))
        failures = tuple(end for end in ends if end is not None)
        if failures:
            raise StartFailures(failures)

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
        plugin = self.loaded.plan.plugins[name]
        spec = WorkerSpec.of(name, self.loaded.manifests[name], prepared, os.environ)
        configs = {id: {"with": values, "secrets": {}} for id, values in plugin.configs.items()}

        def report(message: str, fraction: float | None) -> None:
            self._report(StartEvent(name, "start", message, fraction))

        return Generation(
            spec,
            configs,
            replicas=plugin.replicas,
            concurrency=plugin.concurrency,
            queue=plugin.queue,
            intensity=_intensity(plugin.restart),
            report=report,
        )

    async def invoke(
        self,
        hook: str,
        payload: bytes | Mapping[str, object] | Body,
        context: bytes | Mapping[str, object] | Body | None = None,
        *,
        within_seconds: float = NO_DEADLINE_SECONDS,
        pipeline: str | None = None,
        mocks: Mapping[str, Mapping[str, object]] | None = None,
    ) -> HookResult:
        """Answer one call of a hook. Raises UnknownHook and DoorError; everything else that goes wrong is a denial.

        A Body (`orchestrator.door`) has passed the door before and is taken as it is. `pipeline` runs only that one;
        `mocks` gives the answers of stages, by their id, in their plugins' stead.
        """
        call: HookCall = self.engine.submit(
            hook, payload, context, within_seconds=within_seconds, pipeline=pipeline, mocks=mocks
        )
        try:
            return HookResult(await call.reply)
        except asyncio.CancelledError:
            call.abandon()
            raise
