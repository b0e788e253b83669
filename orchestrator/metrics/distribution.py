"""How often a duration fell into which range: a histogram with fixed bounds, in plain ints."""

from __future__ import annotations

from bisect import bisect_left

__all__ = ["DURATION_BOUNDS", "LAG_BOUNDS", "Distribution"]

DURATION_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds. A stage takes a tenth of a millisecond when all is well; few deadlines are longer than ten seconds."""

LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Seconds. The loop's own timers are no finer than the first."""


class Distribution:
    """`counts` has one more entry than `bounds`: the last is for what is above all of them. A bound belongs to the
    range below it, as Prometheus has it. Who counts on the path of a call adds to `counts` and `total` by itself.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = DURATION_BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def note(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        """How many were noted."""
        return sum(self.counts)

    def copy(self) -> Distribution:
        """What it holds now."""
        other = Distribution(self.bounds)
        other.counts = self.counts.copy()
        other.total = self.total
        return other
