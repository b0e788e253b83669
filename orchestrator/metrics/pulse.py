"""How late the event loop is: an alarm twice a second, and how long after its time it rang."""

from __future__ import annotations

from orchestrator.clock import Alarm, Clock
from orchestrator.metrics.distribution import LAG_BOUNDS, Distribution

__all__ = ["PULSE_SECONDS", "Pulse"]

PULSE_SECONDS = 0.5
"""Often enough to see a loop that is held for a second, seldom enough to cost an idle host nothing."""


class Pulse:
    """Begins with `start`, ends with `stop`."""

    _alarm: Alarm | None = None

    def __init__(self) -> None:
        self.lag = Distribution(LAG_BOUNDS)

    def start(self, clock: Clock) -> None:
        """Begin to look."""
        due = clock.now() + PULSE_SECONDS
        self._alarm = clock.later(PULSE_SECONDS, lambda: self._beat(clock, due))

    def _beat(self, clock: Clock, due: float) -> None:
        self.lag.note(max(0.0, clock.now() - due))
        self.start(clock)

    def stop(self) -> None:
        """Look no more."""
        if self._alarm is not None:
            self._alarm.cancel()
