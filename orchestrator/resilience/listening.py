"""Hears of every change of a breaker's state, in pybreaker's own words."""

from __future__ import annotations

from collections.abc import Callable

from pybreaker import CircuitBreaker, CircuitBreakerListener, CircuitBreakerState

__all__ = ["Listener"]


class Listener(CircuitBreakerListener):
    """Calls `changed` with a breaker's name, and the names of the state it left and of the one it is in."""

    def __init__(self, changed: Callable[[str, str, str], None]) -> None:
        self._changed = changed

    def state_change(
        self, cb: CircuitBreaker, old_state: CircuitBreakerState | None, new_state: CircuitBreakerState
    ) -> None:
        """Pass it on."""
        if old_state is not None:
            self._changed(str(cb.name), old_state.name, new_state.name)
