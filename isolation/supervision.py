"""When a worker that ended is started again: restart intensity and backoff, as in OTP. Pure: time is an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Intensity", "RestartLog"]

_MOST_DOUBLINGS = 64  # far beyond any longest pause, and within a float


@dataclass(frozen=True, slots=True)
class Intensity:
    """At most `restarts` unplanned ends within `period_seconds`; the pause doubles from `first_seconds` on."""

    restarts: int = 5
    period_seconds: float = 10.0
    first_seconds: float = 0.05
    longest_seconds: float = 5.0


class RestartLog:
    """Remembers the unplanned ends of one generation's workers."""

    def __init__(self, intensity: Intensity) -> None:
        self._intensity = intensity
        self._ends = deque[float]()

    def ended(self, now: float, *, planned: bool) -> float | None:
        """Note an end; return the pause in seconds before the next start, None when there must be none.

        A planned end (an overrunning call was killed) does not count.
        """
        if planned:
            return 0.0
        limits = self._intensity
        while self._ends and self._ends[0] <= now - limits.period_seconds:
            self._ends.popleft()
        self._ends.append(now)
        recent = len(self._ends)
        if recent > limits.restarts:
            return None
        if recent == 1:
            return 0.0
        return min(limits.longest_seconds, limits.first_seconds * 2.0 ** min(recent - 2, _MOST_DOUBLINGS))
