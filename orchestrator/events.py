"""What happens while the orchestrator serves, as values: for metrics, logs and screens that subscribe."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from isolation.status import GenerationEvent

__all__ = ["BreakerChanged", "Event", "Events", "RunEnded", "RunParked", "RunTakenUp"]

log = logging.getLogger("penstock.events")


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run is over, its verdict and all that followed it. `summary` is its entry in the ring."""

    summary: dict[str, object]


@dataclass(frozen=True, slots=True)
class RunTakenUp:
    """A run of an earlier host goes on. `phase` is where it stood."""

    run: str
    pipeline: str
    phase: str


@dataclass(frozen=True, slots=True)
class RunParked:
    """A run was left to a human."""

    run: str
    pipeline: str
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """A breaker went from one state to another, each closed, open or half-open."""

    breaker: str
    before: str
    after: str


Event = RunEnded | RunTakenUp | RunParked | BreakerChanged | GenerationEvent


@dataclass(frozen=True, slots=True, eq=False)
class _Subscriber:
    hear: Callable[[Event], None]
    kinds: tuple[type[Event], ...]


class Events:
    """Tells subscribers of events, in order, on the event loop's thread.

    A listener that hands events on and cannot keep up is let go by whoever hands them on, who adds to `dropped`.
    """

    def __init__(self) -> None:
        self.dropped = 0
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

    def publish(self, event: Event) -> None:
        """Tell everybody. What one of them raises is logged and costs no other its own."""
        for subscriber in self._subscribers:
            if subscriber.kinds and not isinstance(event, subscriber.kinds):
                continue
            try:
                subscriber.hear(event)
            except Exception:
                log.exception("event.subscriber_failed", extra={"event": type(event).__name__})
