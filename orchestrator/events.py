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


class Events:
    """Tells every subscriber of every event, in order, on the event loop's thread."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[Event], None]] = []

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._subscribers)

    def subscribe(self, hear: Callable[[Event], None]) -> Callable[[], None]:
        """Call `hear` with each event from now on. What is returned ends that."""
        self._subscribers.append(hear)
        return lambda: self._subscribers.remove(hear)

    def publish(self, event: Event) -> None:
        """Tell everybody. What one of them raises is logged and costs no other its own."""
        for hear in tuple(self._subscribers):
            try:
                hear(event)
            except Exception:
                log.exception("event.subscriber_failed", extra={"event": type(event).__name__})
