"""The latencies of the last calls, in steps of a few percent: a quantile of them without sorting any."""

from __future__ import annotations

import math

__all__ = ["Latencies"]

SHORTEST_SECONDS = 1e-5
"""Anything faster counts as this; no call over a pipe is."""

STEPS_PER_FACTOR_E = 13.5
"""A step is 7.7 %, and 255 of them reach from 10 µs to 26 minutes: a step is a byte."""

_LAST_STEP = 255


class Latencies:
    """A ring of the last `size` latencies and how many of them are in each step."""

    def __init__(self, size: int) -> None:
        self._ring = bytearray(size)
        self._next = 0
        self._counts = [0] * (_LAST_STEP + 1)
        self.known = 0

    def take(self, seconds: float) -> None:
        """Take in a latency in the place of the oldest."""
        step, place = _step(seconds), self._next
        if self.known == len(self._ring):
            self._counts[self._ring[place]] -= 1
        else:
            self.known += 1
        self._ring[place] = step
        self._counts[step] += 1
        self._next = place + 1 if place + 1 < len(self._ring) else 0

    def quantile(self, part: float) -> float:
        """Seconds that this part of the calls, 0 to 1, did not take longer than; 0 where none is known."""
        wanted, seen = part * self.known, 0
        for step, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return SHORTEST_SECONDS * math.exp(step / STEPS_PER_FACTOR_E)
        return 0.0


def _step(seconds: float) -> int:
    """The first step that is not shorter."""
    if seconds <= SHORTEST_SECONDS:
        return 0
    return min(math.ceil(math.log(seconds / SHORTEST_SECONDS) * STEPS_PER_FACTOR_E), _LAST_STEP)
