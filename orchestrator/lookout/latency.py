"""A distribution of latencies that costs the same memory for any number of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Latency"]

BUCKETS_PER_E = 100
"""Latencies are counted in buckets 1 % wide: any number of runs costs the same memory, no figure is off by more."""


@dataclass(slots=True)
class Latency:
    """A distribution of milliseconds."""

    counts: Counter[int] = field(default_factory=Counter)
    total: int = 0

    def add(self, milliseconds: float) -> None:
        """Count one."""
        self.counts[round(math.log(max(milliseconds, 1e-4)) * BUCKETS_PER_E)] += 1
        self.total += 1

    @classmethod
    def joined(cls, parts: Iterable[Latency]) -> Latency:
        """All of them as one."""
        whole = cls()
        for part in parts:
            whole.counts.update(part.counts)
            whole.total += part.total
        return whole

    def quantile(self, share: float) -> float | None:
        """The smallest latency that `share` of all stayed at or under; None when there was none."""
        wanted = max(1, math.ceil(share * self.total))
        for bucket in sorted(self.counts):
            wanted -= self.counts[bucket]
            if wanted <= 0:
                return math.exp(bucket / BUCKETS_PER_E)
        return None
