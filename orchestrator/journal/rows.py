"""What a journal holds, as values. Bodies are opaque here; on the disk they are encrypted."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.metrics.distribution import Distribution

__all__ = [
    "FINISHED",
    "KEEP",
    "UNFINISHED",
    "EventRow",
    "JournalFacts",
    "JournalPulse",
    "Keep",
    "RunRow",
    "RunSketch",
    "RunStatus",
    "RunUpdate",
]


class RunStatus(enum.Enum):
    """Where a run stands. CONFIRMING: decided, and the caller has not confirmed it yet."""

    RUNNING = "running"
    CONFIRMING = "confirming"
    COMPLETED = "completed"
    UNDONE = "undone"
    PARKED = "parked"


UNFINISHED = (RunStatus.RUNNING, RunStatus.CONFIRMING)
"""What somebody has to take up after a crash."""

FINISHED = (RunStatus.COMPLETED, RunStatus.UNDONE)
"""What may be pruned; a parked run waits for a human."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run. Times are seconds since the epoch.

    `plan` is the digest of an archived plan. `key` is the SHA-256, in hex, of the caller's idempotency key,
    `key_digest` that of the payload and context that came with it. `reason` says why a run is parked, or is the code
    of its denial. `machine` is the version of the run machine that began it; `begin` writes the journal's own.
    """

    id: str
    pipeline: str
    hook: str
    plan: str
    key: str | None
    key_digest: str | None
    status: RunStatus
    verdict: str | None
    reason: str
    started_at: float
    ended_at: float | None
    confirm_by: float | None
    delivered: bool
    body: bytes
    machine: int = 0


@dataclass(frozen=True, slots=True)
class RunSketch:
    """What can be told of a run without a key: nothing is decrypted, and nothing is checked."""

    id: str
    pipeline: str
    hook: str
    status: str
    verdict: str | None
    reason: str
    started_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of a run. `seq` counts without a gap from the run's first event; `at` is seconds since the epoch.

    `kind` is a short word and not encrypted; `commands` is the digest of the commands that the event caused.
    """

    run: str
    seq: int
    kind: str
    body: bytes
    commands: bytes
    at: float


class Keep(enum.Enum):
    """What a field of an update says when it changes nothing; None is a value."""

    KEEP = enum.auto()


KEEP = Keep.KEEP


@dataclass(frozen=True, slots=True)
class RunUpdate:
    """New values of what may change in a run; the others stay."""

    status: RunStatus | Keep = KEEP
    verdict: str | Keep | None = KEEP
    reason: str | Keep = KEEP
    ended_at: float | Keep | None = KEEP
    confirm_by: float | Keep | None = KEEP
    delivered: bool | Keep = KEEP


@dataclass(frozen=True, slots=True)
class JournalFacts:
    """A journal as an operator sees it.

    `size_bytes` is database and log together, `oldest` when the oldest run began, `key_ids` newest first (more than
    one: a `rekey` was begun and not finished). What is counted and measured began with the opening: `synced_events`
    and their rate, and how long a commit took at the median and at the 99th percentile (None before the first).
    """

    size_bytes: int
    runs: Mapping[RunStatus, int]
    oldest: float | None
    schema: int
    machine: int
    key_ids: tuple[str, ...]
    synced_events: int
    synced_events_per_second: float
    commit_seconds_p50: float | None
    commit_seconds_p99: float | None


@dataclass(frozen=True, slots=True)
class JournalPulse:
    """A journal as its metrics see it, since it was opened. `failed`: it takes nothing more."""

    queue_bytes: int
    size_bytes: int
    synced_events: int
    commits: Distribution
    failed: bool
