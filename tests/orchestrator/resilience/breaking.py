"""What the tests of breakers share: a clock that a test turns, a listener that notes, and ways to break a breaker."""

from __future__ import annotations

from pybreaker import CircuitBreaker, CircuitBreakerListener, CircuitBreakerState

from orchestrator.resilience.breaker import Breaker, Permit
from pipelines.plan import BreakerPolicy

__all__ = ["GENERATION", "STEADY", "Clock", "Noting", "breaker_of", "broken", "half_open"]

GENERATION = "pii@0123abcd"

STEADY = BreakerPolicy("steady", window=10, minimum_calls=4, failure_rate=0.5, open_seconds=30.0, probes=3)


class Clock:
    """Stands still until a test turns it; counts how often it was read."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.readings = 0

    def __call__(self) -> float:
        self.readings += 1
        return self.now


class Noting(CircuitBreakerListener):
    """Notes what it hears, in pybreaker's words, and a state after a change as `current_state` gives it."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.errors: list[BaseException] = []

    def before_call(self, cb: CircuitBreaker, func: object, *args: object, **kwargs: object) -> None:
        """Note a call."""
        self.heard.append("before_call")

    def success(self, cb: CircuitBreaker) -> None:
        """Note a success."""
        self.heard.append("success")

    def failure(self, cb: CircuitBreaker, exc: BaseException) -> None:
        """Note a failure."""
        self.heard.append("failure")
        self.errors.append(exc)

    def state_change(
        self, cb: CircuitBreaker, old_state: CircuitBreakerState | None, new_state: CircuitBreakerState
    ) -> None:
        """Note a change."""
        assert old_state is not None
        assert cb.current_state == cb.state.name == new_state.name
        self.heard.append(f"{old_state.name} to {new_state.name}")


def breaker_of(policy: BreakerPolicy = STEADY, clock: Clock | None = None, *listeners: Noting) -> Breaker:
    """A breaker that nobody has called yet."""
    return Breaker(GENERATION, "mask", policy, clock or Clock(), listeners)


def broken(breaker: Breaker) -> None:
    """Let calls fail until it is open."""
    while breaker.current_state != "open":
        breaker.failed(breaker.admit(), ValueError())


def half_open(breaker: Breaker, clock: Clock) -> Permit:
    """Break it, let the open time go by, and return the permit of its first probe."""
    broken(breaker)
    clock.now += breaker.policy.open_seconds
    return breaker.admit()
