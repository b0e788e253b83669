"""Where the host stands as its door sees it: starting, serving or draining; and whether every plugin takes calls."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass

from isolation.supervision import State
from orchestrator.generations import StartEvent
from orchestrator.http.failures import Failure
from orchestrator.http.peer import Peer
from orchestrator.orchestrator import Orchestrator

__all__ = ["Phase", "Readiness", "Standing"]


class Phase(enum.Enum):
    """The host's own life, in this order."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Plugin:
    """One plugin: `ready` of `wanted` replicas take calls. `reason` says why it is degraded or failed."""

    state: str
    ready: int
    wanted: int
    reason: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of /readyz. `reasons` are why not, and, where it is ready all the same, what is degraded."""

    ready: bool
    phase: Phase
    reasons: tuple[str, ...]
    plugins: dict[str, Plugin]


class Standing:
    """One for a door. `listeners` are the tasks of streams, which nobody waits for; `closing` ends them."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.listeners: dict[asyncio.Task[None], Peer] = {}
        self._starting: dict[str, str] = {}
        self._orchestrator: Orchestrator | None = None

    def started(self, event: StartEvent) -> None:
        """Hear how far a plugin is. Called from other threads, too."""
        self._starting[event.plugin] = event.phase

    def serve(self, orchestrator: Orchestrator) -> None:
        """Every plugin is ready."""
        self._orchestrator = orchestrator
        self.phase = Phase.SERVING

    def drain(self) -> None:
        """Nothing more is to come."""
        self.phase = Phase.DRAINING
        if not self.closing.done():
            self.closing.set_result(None)

    @property
    def host(self) -> Orchestrator:
        """Who answers. Raises Failure while nobody does."""
        if self._orchestrator is None:
            raise Failure("penstock.not_ready", "the plugins are still starting", "ask again when /readyz says 200")
        return self._orchestrator

    def readiness(self) -> Readiness:
        """Whether a gateway should send calls here: every plugin has a replica that takes them, and will have."""
        plugins = {} if self._orchestrator is None else _plugins(self._orchestrator)
        reasons = tuple(_reason(name, one) for name, one in plugins.items() if not one.ready or one.reason)
        ready = self.phase is Phase.SERVING and all(one.ready for one in plugins.values())
        if self.phase is Phase.STARTING:
            starting = dict(self._starting)  # threads add to it
            reasons = tuple(f"plugin {name} is starting: {phase}" for name, phase in starting.items())
            reasons = reasons or ("the plugins are still starting",)
        elif self.phase is Phase.DRAINING:
            reasons = ("the host is stopping", *reasons)
        return Readiness(ready, self.phase, reasons, plugins)


def _plugins(orchestrator: Orchestrator) -> dict[str, Plugin]:
    found = {name: generation.status for name, generation in orchestrator.generations.items()}
    return {name: Plugin(one.state.value, one.ready, one.wanted, one.reason) for name, one in found.items()}


def _reason(name: str, plugin: Plugin) -> str:
    if plugin.state == State.RUNNING.value:
        return f"plugin {name} has no replica that takes calls; one is being started"
    said = plugin.reason or f"{plugin.ready} of {plugin.wanted} replicas take calls"
    return f"plugin {name} is {plugin.state}: {said}"
