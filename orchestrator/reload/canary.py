"""Judges a canary: a generation that takes part of the calls, against the stable one that takes the rest.

It is told of every run that is finished, and says once why the canary has to go. It keeps no call, and whether it is
told of the hundredth or of the millionth one costs the same.
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.reload.evidence import Tally, beyond
from orchestrator.reload.latencies import Latencies

__all__ = ["CanaryJudge", "CanaryPolicy", "Side", "chosen"]

WRONGLY_ABORTED = 1 / 2000
"""How probable it is, at most, that a canary no worse than the stable generation is ever aborted."""

EPISODE_CALLS = (500, 20_000)
"""After so many calls of the canary counting begins anew. A canary that breaks late is noticed in the short episodes;
one that is only a little worse, in the long ones."""

LATENCY_WINDOW = 1024
"""So many of the last latencies of each side tell its quantile."""

LATENCY_EVERY = 64
"""After so many latencies of the stable generation its quantile is looked up again."""

LATENCY_QUANTILE = 0.95


class Side(enum.Enum):
    """Who took a call."""

    CANARY = "canary"
    STABLE = "stable"


@dataclass(frozen=True, slots=True)
class CanaryPolicy:
    """Abort when, after `minimum_calls` of its own, a canary surely is worse and, as far as one can see, by a factor.

    It is worse when it fails more than `error_factor` times as often as the stable generation, or when its high
    latencies are more than `latency_factor` times as long. `error_floor`, a rate, stands in where the stable generation
    fails less often than that: otherwise a single failure beside none would be infinitely more.
    """

    minimum_calls: int = 50
    error_factor: float = 2.0
    latency_factor: float = 2.0
    error_floor: float = 0.005


def chosen(key: bytes, salt: bytes, percent: float) -> bool:
    """Whether a key belongs to the `percent` (0 to 100) of all keys. Whoever is in at 5 % is in at 10 %, too.

    Another `salt` makes another choice, so that not the same callers are first every time.
    """
    drawn = hashlib.blake2b(len(salt).to_bytes(8, "big") + salt + key, digest_size=8).digest()
    # Multiplied, not divided: a float near 1 would round to it, and 100 % has to be everybody.
    return int.from_bytes(drawn, "big") * 100 < percent * 2**64


class CanaryJudge:
    """The judge of one canary. `reason` is empty as long as the canary may stay."""

    def __init__(self, policy: CanaryPolicy = CanaryPolicy()) -> None:
        self.policy = policy
        self.reason = ""
        self._calls = {side: Tally() for side in Side}
        self._latencies = {side: Latencies(LATENCY_WINDOW) for side in Side}
        self._slow_seconds = math.inf
        self._stable_timed = 0
        share = WRONGLY_ABORTED / (2 * len(EPISODE_CALLS))
        factor, floor = max(policy.error_factor, 1.0), policy.error_floor
        self._errors = [_Contest(factor, floor, share, calls, policy.minimum_calls) for calls in EPISODE_CALLS]
        # By definition this part of the stable generation's calls is above its quantile, and less above a multiple.
        tail = 1.0 - LATENCY_QUANTILE
        self._slow = [_Contest(1.0, tail, share, calls, policy.minimum_calls) for calls in EPISODE_CALLS]

    def finished(self, side: Side, *, failed: bool, seconds: float) -> str:
        """Take in a run that ended. Return why the canary has to go, or nothing; the first reason stays."""
        tally = self._calls[side]
        tally.calls += 1
        tally.hits += failed
        worse = [contest for contest in self._errors if contest.take(side, failed)]
        if worse and not self.reason:
            self.reason = self._failing(worse[0])
        if not failed:
            self._timed(side, seconds)
        return self.reason

    def counted(self) -> Iterator[tuple[str, int, int]]:
        """Each side with its calls, and how many of them failed."""
        for side, tally in self._calls.items():
            yield side.value, tally.calls, tally.hits

    def figures(self) -> dict[str, object]:
        """Both sides as they stand, a JSON object: calls, failed, and the high quantile in seconds."""
        return {
            side.value: {
                "calls": self._calls[side].calls,
                "failed": self._calls[side].hits,
                "p95_seconds": self._latencies[side].quantile(LATENCY_QUANTILE),
            }
            for side in Side
        }

    def _timed(self, side: Side, seconds: float) -> None:
        """Only what did not fail is timed: a failure may be quick, and is counted already."""
        slow = seconds > self._slow_seconds
        judged = self._slow_seconds < math.inf
        worse = [contest for contest in self._slow if judged and contest.take(side, slow)]
        if worse and not self.reason:
            self.reason = self._late()
        latencies = self._latencies[side]
        latencies.take(seconds)
        if side is Side.STABLE:
            self._look_up(latencies)

    def _look_up(self, stable: Latencies) -> None:
        """Say anew what is slow. Before the minimum is known, nothing is: a quantile of five calls says little."""
        self._stable_timed += 1
        due = self._stable_timed % LATENCY_EVERY == 0 or self._slow_seconds == math.inf
        if due and stable.known >= self.policy.minimum_calls:
            self._slow_seconds = stable.quantile(LATENCY_QUANTILE) * self.policy.latency_factor

    def _failing(self, contest: _Contest) -> str:
        canary, stable = contest.tallies[Side.CANARY], contest.tallies[Side.STABLE]
        return (
            f"{_share(canary)} of its calls failed, and {_share(stable)} of the stable generation's;"
            f" at most {self.policy.error_factor:g} times as many may"
        )

    def _late(self) -> str:
        canary, stable = (self._latencies[side].quantile(LATENCY_QUANTILE) for side in Side)
        return (
            f"its 95th percentile is {_milliseconds(canary)}, and {_milliseconds(stable)} the stable generation's;"
            f" at most {self.policy.latency_factor:g} times as much may be"
        )


class _Contest:
    """One question asked of both sides again and again, in episodes.

    Every episode may be wrong, so each gets a part of the `share` of wrong answers, and all of them together no more.
    """

    def __init__(self, factor: float, floor: float, share: float, calls: int, minimum: int) -> None:
        self._factor, self._floor, self._share = factor, floor, share
        self._longest, self._minimum = max(calls, 2 * minimum), minimum
        self._episode = 0
        self._begin()

    def take(self, side: Side, hit: bool) -> bool:
        """Take in a call; True when the canary is beyond the limit."""
        tally = self.tallies[side]
        tally.calls += 1
        tally.hits += hit
        if side is Side.STABLE or tally.calls < self._minimum:
            return False
        found = beyond(tally, self.tallies[Side.STABLE], self._factor, self._floor, self._doubt)
        if not found and tally.calls >= self._longest:
            self._begin()
        return found

    def _begin(self) -> None:
        self._episode += 1
        self.tallies = {side: Tally() for side in Side}
        # 6/pi² of the sum of 1/n² is 1.
        self._doubt = -math.log(self._share * 6.0 / (math.pi * self._episode) ** 2)


def _share(tally: Tally) -> str:
    return f"{tally.hits} of {tally.calls} ({tally.rate:.1%})"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
