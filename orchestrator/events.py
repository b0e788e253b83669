"""What happens while the orchestrator serves, as values: for metrics, logs and screens that subscribe."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from isolation.status import GenerationEvent

__all__ = [
    "BreakerChanged",
    "CanaryAborted",
    "CanaryPromoted",
    "CanaryStarted",
    "ChangeApplied",
    "ChangeRefused",
    "Event",
    "Events",
    "Frozen",
    "OverrideEnded",
    "OverrideSet",
    "RevisionDraining",
    "RevisionGone",
    "RunEnded",
    "RunParked",
    "RunTakenUp",
    "StageTapped",
    "Thawed",
]

log = logging.getLogger("penstock.events")


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run is over, its verdict and all that followed it. `summary` is its entry in the ring."""

    summary: dict[str, object]


@dataclass(frozen=True, slots=True)
class RunTakenUp:
    """A run of an earlier host goes on. `phase` is where it stood; of its caller's request, what was told of it."""

    run: str
    pipeline: str
    phase: str
    request_id: str = ""
    trace: str = ""


@dataclass(frozen=True, slots=True)
class RunParked:
    """A run was left to a human. `pipeline` and the rest are "" where the journal cannot be read."""

    run: str
    pipeline: str
    reason: str
    request_id: str = ""
    trace: str = ""


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """A breaker went from one state to another, each closed, open or half-open."""

    breaker: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class StageTapped:
    """Somebody looks at what a stage is given and answers, in one pipeline or in all; `values` included, or not."""

    stage: str
    pipeline: str | None
    by: str
    values: bool


@dataclass(frozen=True, slots=True)
class ChangeApplied:
    """A revision was put into service. `change` is what `penstock plan` says of it, `by` who wanted it."""

    revision: int
    by: str
    change: dict[str, object]


@dataclass(frozen=True, slots=True)
class ChangeRefused:
    """A change was not made, and everything is as it was. `where` is file:line:column, a plugin's name, or ""."""

    by: str
    code: str
    reason: str
    where: str


@dataclass(frozen=True, slots=True)
class RevisionDraining:
    """A revision takes no new calls; `runs` still need it."""

    revision: int
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RevisionGone:
    """Nothing needs a revision any more; those of its workers that no other one has were stopped."""

    revision: int


@dataclass(frozen=True, slots=True)
class CanaryStarted:
    """A revision takes `percent` of the calls of `hooks`."""

    revision: int
    percent: float
    hooks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CanaryPromoted:
    """A revision on trial takes all calls now."""

    revision: int
    by: str


@dataclass(frozen=True, slots=True)
class CanaryAborted:
    """A revision on trial takes no calls any more."""

    revision: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class OverrideSet:
    """The mode of a stage was overridden; `until` is in seconds since 1970."""

    stage: str
    mode: str
    until: float
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class OverrideEnded:
    """A stage is as its file says again: its time was up, or somebody said so."""

    stage: str
    by: str


@dataclass(frozen=True, slots=True)
class Frozen:
    """The watcher applies nothing."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Thawed:
    """The watcher applies what it sees again."""

    by: str


Event = (
    RunEnded
    | RunTakenUp
    | RunParked
    | BreakerChanged
    | StageTapped
    | ChangeApplied
    | ChangeRefused
    | RevisionDraining
    | RevisionGone
    | CanaryStarted
    | CanaryPromoted
    | CanaryAborted
    | OverrideSet
    | OverrideEnded
    | Frozen
    | Thawed
    | GenerationEvent
)


@dataclass(frozen=True, slots=True, eq=False)
class _Subscriber:
    hear: Callable[[Event], None]
    kinds: tuple[type[Event], ...]


class Events:
    """Tells subscribers of events, in order, on the event loop's thread.

    Who keeps events for a listener that does not keep up, and lets one go, says so with `note_missed`.
    """

    def __init__(self) -> None:
        self.missed = 0
        self.heard = False
        """Whether anybody hears of the end of runs: what to tell of it takes a while to make."""
        self._subscribers: list[_Subscriber] = []

    def subscribe(self, hear: Callable[[Event], None], kinds: tuple[type[Event], ...] = ()) -> Callable[[], None]:
        """Call `hear` with each event of `kinds` from now on, of any kind without them. What is returned ends it."""
        subscriber = _Subscriber(hear, kinds)
        self._changed([*self._subscribers, subscriber])
        return lambda: self._changed([one for one in self._subscribers if one is not subscriber])

    def _changed(self, subscribers: list[_Subscriber]) -> None:
        self._subscribers = subscribers
        self.heard = any(not one.kinds or RunEnded in one.kinds for one in subscribers)

    def note_missed(self) -> None:
        """Count one that a listener went without."""
        self.missed += 1

    def publish(self, event: Event) -> None:
        """Tell everybody. What one of them raises is logged and costs no other its own."""
        for subscriber in self._subscribers:
            if subscriber.kinds and not isinstance(event, subscriber.kinds):
                continue
            try:
                subscriber.hear(event)
            except Exception:
                log.exception("event.subscriber_failed", extra={"event": type(event).__name__})
