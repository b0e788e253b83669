"""What a generation shows of itself: its status when asked, and events as they happen. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from isolation.errors import ExitReport
from isolation.supervision import State

__all__ = [
    "Degraded",
    "Failed",
    "GenerationEvent",
    "RestartScheduled",
    "Restarted",
    "Status",
    "Stopped",
    "WorkerEnded",
    "WorkerNotStarted",
    "WorkerReady",
]


@dataclass(frozen=True, slots=True)
class Status:
    """One generation at one moment.

    `wanted` replicas are configured, `ready` of them take calls. `owed` calls are with workers, abandoned ones
    included, `waiting` ones wait for a place. `unplanned_ends` counts those within the period of the restart intensity.
    `since`, in seconds of the monotonic clock, is when the state was entered; `reason` says why it is degraded or
    failed. `restarts` counts workers that followed on others; `opened_at`, of the same clock, is when the generation
    was opened. `last_exit` is how the process ended that ended last; of a worker that closed its pipes first it comes a
    moment after the change of state.
    """

    plugin: str
    digest: str
    state: State
    since: float
    wanted: int
    ready: int
    owed: int
    waiting: int
    unplanned_ends: int
    reason: str
    last_exit: ExitReport | None
    restarts: int = 0
    opened_at: float = 0.0


@dataclass(frozen=True, slots=True)
class GenerationEvent:
    """Something happened to the generation of `plugin` at `digest`."""

    plugin: str
    digest: str


@dataclass(frozen=True, slots=True)
class WorkerReady(GenerationEvent):
    """A worker takes calls."""

    worker: str
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerEnded(GenerationEvent):
    """A worker's process is gone. `planned` when the host wanted it so: a drain, a stop, an overrun call."""

    worker: str
    planned: bool
    report: ExitReport


@dataclass(frozen=True, slots=True)
class WorkerNotStarted(GenerationEvent):
    """A worker could not be made ready."""

    reason: str


@dataclass(frozen=True, slots=True)
class RestartScheduled(GenerationEvent):
    """A worker follows on one that ended, after a pause."""

    pause_seconds: float


@dataclass(frozen=True, slots=True)
class Degraded(GenerationEvent):
    """Nothing is started any more; `ready` replicas serve on until they end."""

    reason: str
    ready: int


@dataclass(frozen=True, slots=True)
class Failed(GenerationEvent):
    """No replica is left; calls are answered at once until somebody asks for a restart."""

    reason: str


@dataclass(frozen=True, slots=True)
class Restarted(GenerationEvent):
    """Every replica is ready again, because somebody asked for it."""


@dataclass(frozen=True, slots=True)
class Stopped(GenerationEvent):
    """No worker is left, and none will come."""
