"""How sure two rates differ, at any moment of looking: a test that may be asked after every call.

Two sides have calls, some of which are hits. The question is whether the first side's rate of hits is above a limit:
`factor` times the other's rate, or times `floor` where that is higher. The evidence is the likelihood of what was seen
under a mixture of all rates (Krichevsky and Trofimov) over its likelihood under the rates that the limit allows and
that explain it best. By Ville's inequality, whoever keeps to the limit ever shows evidence of 1/p with probability p
at most, however often one looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Tally", "beyond"]

_STEPS = 40
"""Halvings of the rates in doubt: finer than a float needs to be here, and the same for every call."""


@dataclass(slots=True)
class Tally:
    """Calls, and how many of them were hits."""

    calls: int = 0
    hits: int = 0

    @property
    def rate(self) -> float:
        """Hits among the calls, 0 to 1."""
        return self.hits / self.calls if self.calls else 0.0

    def likelihood(self, rate: float) -> float:
        """The logarithm of how likely this is at a rate."""
        return _weighed(self.hits, rate) + _weighed(self.calls - self.hits, 1.0 - rate)

    def mixed(self) -> float:
        """The logarithm of how likely this is where nothing is known of the rate."""
        missed = self.calls - self.hits
        together = math.lgamma(self.hits + 0.5) + math.lgamma(missed + 0.5) - math.lgamma(self.calls + 1)
        return together - math.log(math.pi)


def beyond(tally: Tally, other: Tally, factor: float, floor: float, doubt: float) -> bool:
    """Whether the rate of `tally` is above the limit; wrong at most once in exp(`doubt`) histories."""
    limit = min(factor * max(other.rate, floor), 1.0)
    if tally.rate <= limit or tally.likelihood(tally.rate) - tally.likelihood(limit) < doubt:
        return False  # the mixture is never more likely than the best rate: most calls end here
    return tally.mixed() + other.mixed() - _allowed(tally, other, factor, floor) >= doubt


def _allowed(tally: Tally, other: Tally, factor: float, floor: float) -> float:
    """The likelihood of both at the rates within the limit that explain them best."""

    def at(rate: float) -> float:
        return tally.likelihood(min(factor * max(rate, floor), 1.0)) + other.likelihood(rate)

    # Beyond the floor it is the sum of two concave functions, so that what is in doubt can be halved.
    low, high = max(other.rate, floor), min(max(tally.rate / factor, floor), 1.0)
    for _ in range(_STEPS):
        third = (high - low) / 3.0
        low, high = (low + third, high) if at(low + third) < at(high - third) else (low, high - third)
    return max(at((low + high) / 2.0), at(min(other.rate, floor)))


def _weighed(count: int, probability: float) -> float:
    if not count:
        return 0.0
    return count * math.log(probability) if probability > 0.0 else -math.inf
