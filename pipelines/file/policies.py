"""The keys of policies: how often a call is tried, when a breaker opens, when a worker is started again.

A policy stands under `policies` with a name, or where it is used. Figures that are not written are here.
"""

from __future__ import annotations

import enum
from types import MappingProxyType

from pipelines.file.containers import ListOf
from pipelines.file.durations import Amount
from pipelines.file.reading import Invalid
from pipelines.file.section import Policy, Record, Section, key
from pipelines.file.shape import Choice, Number, Whole
from pipelines.plan import Jitter

__all__ = [
    "BREAKER",
    "RESTART",
    "RETRY",
    "BackoffSpec",
    "BreakerSpec",
    "RestartBackoffSpec",
    "RestartSpec",
    "RetryClass",
    "RetrySpec",
]

MAX_ATTEMPTS = 20
"""More tries than this of one call are a storm."""

MAX_WINDOW = 10_000
"""Calls that a breaker may look back on; more of them would make it blind to what happens now."""

MAX_PROBES = 1_000
"""As many calls as may try a plugin out at once are no trial any more."""

MAX_INTENSITY = 10_000
"""More restarts than this within any period would be a loop that nothing ends."""

LONGEST_RETRY_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 5.0
"""Longest pauses where none is written."""

DEFAULT_WINDOW = 20
DEFAULT_MINIMUM_CALLS = 10
"""Half of the window, so that a breaker neither opens on the first slip nor sleeps through an outage."""


class RetryClass(enum.Enum):
    """Errors after which a call may be tried again."""

    WORKER_LOST = "WorkerLost"
    BUSY = "Busy"
    RETRYABLE = "Retryable"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    PLUGIN_ERROR = "PluginError"


DEFAULT_CLASSES = (RetryClass.WORKER_LOST, RetryClass.BUSY, RetryClass.RETRYABLE)

_NEVER = MappingProxyType(
    {
        "BreakerOpen": "an open breaker is never retried: it is open so that the plugin is left alone",
        "ExpressionError": "no call has failed where an expression does: tried again, it would fail again",
        "MergeConflict": "no call has failed where two stages contradict each other: tried again, they would again",
        "NeedUnmet": "no call has failed where a need is not met: tried again, it would be unmet again",
        "Violation": "a violation is an answer and no error: it is never retried",
    }
)


class BackoffSpec(Section):
    """Pauses between attempts: each `factor` times the one before, up to `max`."""

    initial: float = key(Amount(), "The first pause.", default=0.02)
    max: float | None = key(Amount(), "The longest pause: 1s by default, or `initial` where that is longer.")
    factor: float = key(Number(1, 10), "How fast the pauses grow.", default=2.0)
    jitter: Jitter = key(
        Choice(Jitter), "Whether a pause is drawn from between nothing and the backoff (full).", default=Jitter.FULL
    )


class RetrySpec(Section):
    """How often a call is tried, how long it waits in between, and after which errors."""

    attempts: int = key(
        Whole(1, MAX_ATTEMPTS), "How often a call is tried, the first time counted.", default=1, required=True
    )
    backoff: BackoffSpec = key(Record(BackoffSpec), "Pauses between attempts.", default=BackoffSpec())
    on: tuple[RetryClass | Invalid, ...] | None = key(
        ListOf(Choice(RetryClass, _NEVER), at_least=1),
        "Errors after which it is tried again: WorkerLost, Busy and Retryable by default. A call of unknown outcome "
        "(WorkerLost, DeadlineExceeded, PluginError) is repeated only where the stage's manifest says `idempotent`; "
        "one that was never sent always may be.",
    )


class BreakerSpec(Section):
    """When the calls of a stage are no longer let through, and when they are again."""

    window: int = key(Whole(1, MAX_WINDOW), "How many of the last calls count.", default=DEFAULT_WINDOW)
    minimum_calls: int | None = key(
        Whole(1, MAX_WINDOW), "Fewer calls than this open nothing: 10 by default, or `window` where that is less."
    )
    failure_rate: float = key(Number(0, 1, above=True), "Which part of them must have failed to open it.", default=0.5)
    open_for: float = key(Amount(), "How long it stays open before it is tried.", default=30.0)
    probes: int = key(Whole(1, MAX_PROBES), "How many calls try it at once; that many successes close it.", default=3)


class RestartBackoffSpec(Section):
    """Pauses before a worker that ended is started again."""

    initial: float = key(Amount(), "The first pause.", default=0.05)
    max: float | None = key(Amount(), "The longest pause: 5s by default, or `initial` where that is longer.")
    factor: float = key(Number(1, 10), "How fast the pauses grow.", default=2.0)


class RestartSpec(Section):
    """Restart intensity: over it, a plugin has failed and stays down until a reload or a restart by hand."""

    intensity: int = key(
        Whole(0, MAX_INTENSITY), "How many unplanned ends of workers are borne within the period.", default=5
    )
    period: float = key(Amount(), "The time in which they are counted.", default=10.0)
    backoff: RestartBackoffSpec = key(
        Record(RestartBackoffSpec), "Pauses before a start.", default=RestartBackoffSpec()
    )


RETRY = Policy(RetrySpec, "retry policy")
BREAKER = Policy(BreakerSpec, "breaker policy")
RESTART = Policy(RestartSpec, "restart policy", may_be_none=False)
