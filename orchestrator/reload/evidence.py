"""How sure one rate is above another, at any moment of looking: a test that may be asked after every call.

Two sides have calls, some of which are hits. The evidence that the first side's rate is above the other's, and above
`floor`, is the likelihood of what was seen under a mixture of all rates (Krichevsky and Trofimov) over its likelihood
under those rates that are not and explain it best. By Ville's inequality, whoever's rate is no higher ever shows
evidence of 1/p with a probability of p at most, however often one looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Tally", "beyond"]


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
    """Whether a rate is above `factor` times the other's, or the floor, as far as one can see, and surely above both.

    A side that is not worse at all is taken for it at most once in exp(`doubt`) histories.
    """
    if tally.rate <= factor * max(other.rate, floor):
        return False
    level = max(other.rate, floor)
    if tally.likelihood(tally.rate) - tally.likelihood(level) < doubt:
        return False  # the mixture is never more likely than the best rate: most calls end here
    return tally.mixed() + other.mixed() - _alike(tally, other, floor) >= doubt


def _alike(tally: Tally, other: Tally, floor: float) -> float:
    """The likelihood of both at the best rates of which the first is not above the other, or not above the floor."""
    same = max((tally.hits + other.hits) / (tally.calls + other.calls), floor)
    low = min(other.rate, floor)
    return max(
        tally.likelihood(same) + other.likelihood(same),
        tally.likelihood(floor) + other.likelihood(low),
    )


def _weighed(count: int, probability: float) -> float:
    if not count:
        return 0.0
    return count * math.log(probability) if probability > 0.0 else -math.inf
