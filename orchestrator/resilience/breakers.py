"""Every breaker of the host: made when first asked for, found by name, forgotten with its generation."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pybreaker import CircuitBreakerListener

from orchestrator.resilience.breaker import Breaker, BreakerView
from pipelines.plan import BreakerPolicy

__all__ = ["Breakers"]


class Breakers:
    """One breaker for each generation, stage of its plugin and policy, by the policy's values.

    `clock` gives monotonic seconds; `listeners` hear of every breaker.
    """

    def __init__(self, clock: Callable[[], float], listeners: Iterable[CircuitBreakerListener] = ()) -> None:
        self._clock = clock
        self._listeners = tuple(listeners)
        self._breakers: dict[tuple[str, str, BreakerPolicy], Breaker] = {}

    def of(self, generation: str, stage: str, policy: BreakerPolicy) -> Breaker:
        """Return the breaker, the same one each time until `forget`. Worth keeping: the key is hashed at each call."""
        key = (generation, stage, policy)
        breaker = self._breakers.get(key)
        if breaker is None:
            breaker = self._breakers[key] = Breaker(generation, stage, policy, self._clock, self._listeners)
        return breaker

    def all(self) -> tuple[Breaker, ...]:
        """Return every breaker there is."""
        return tuple(self._breakers.values())

    def find(self, text: str) -> tuple[Breaker, ...]:
        """Return what an operator means by a breaker's full name, by "plugin/stage" or by "plugin"; maybe nothing."""
        return tuple(breaker for breaker in self._breakers.values() if text in _titles(breaker))

    def views(self) -> tuple[BreakerView, ...]:
        """Say how each of them stands, sorted by name."""
        return tuple(sorted((breaker.view() for breaker in self._breakers.values()), key=lambda view: view.name))

    def forget(self, generation: str) -> None:
        """Drop the breakers of a generation that takes no more calls; permits still out can be settled all the same."""
        self._breakers = {key: breaker for key, breaker in self._breakers.items() if key[0] != generation}


def _titles(breaker: Breaker) -> tuple[str, ...]:
    return (breaker.name, f"{breaker.plugin}/{breaker.stage}", breaker.plugin)
