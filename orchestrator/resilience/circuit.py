"""pybreaker's circuit with states of ours: it opens by a rate, bounds its probes and moves along the table.

Each change makes a new state object. That object is the epoch of the permits which it gave, so whether an outcome still
counts is asked by identity. Here stand the states and the moves between them; `breaker.py` says who calls them when.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import ClassVar, NoReturn

from pybreaker import (
    CircuitBreaker,
    CircuitBreakerListener,
    CircuitBreakerState,
    CircuitClosedState,
    CircuitHalfOpenState,
    CircuitOpenState,
)

from orchestrator.resilience.errors import BreakerOpen
from orchestrator.resilience.states import Event, State, follow
from orchestrator.resilience.window import Window
from pipelines.plan import BreakerPolicy

__all__ = ["Circuit", "Epoch", "Permit"]

log = logging.getLogger("penstock.breaker")


class Permit:
    """A call that was admitted. Whoever holds it settles it once, with the breaker that gave it."""

    __slots__ = ("epoch",)

    def __init__(self, epoch: Epoch) -> None:
        self.epoch: Epoch | None = epoch  # None once settled


class Epoch(CircuitBreakerState):
    """What a state has beyond pybreaker's. `out` counts probes; `retry_at` is a reading of the circuit's clock."""

    kind: ClassVar[State]
    out = 0
    retry_at: float | None = None
    _breaker: Circuit

    @property
    def circuit(self) -> Circuit:
        """Whose state this is, or was."""
        return self._breaker

    def admit(self) -> Permit:
        """Let a call through; raises BreakerOpen otherwise."""
        return Permit(self)

    def on_release(self) -> None:
        """Take back the permit of a call whose outcome nobody knows."""


class _Closed(Epoch, CircuitClosedState):
    kind = State.CLOSED

    def __init__(self, circuit: Circuit) -> None:
        super().__init__(circuit)
        self._window = circuit.window
        self._window.reset_counter()

    def on_success(self) -> None:
        self._window.take(failed=False)

    def on_failure(self, exc: BaseException) -> None:
        """Count it and see whether it is one too many. Only a failure opens: a success is no reason to refuse calls."""
        window, policy = self._window, self._breaker.policy
        window.take(failed=True)
        if window.calls >= policy.minimum_calls and window.failure_rate >= policy.failure_rate:
            self._breaker.open()


class _Open(Epoch, CircuitOpenState):
    kind = State.OPEN

    def __init__(self, circuit: Circuit) -> None:
        super().__init__(circuit)
        self._until = self.retry_at = circuit.since + circuit.policy.open_seconds

    def admit(self) -> Permit:
        """Refuse until the open time is over; the first call after it makes the circuit half-open."""
        left = self._until - self._breaker.clock()
        if left > 0:
            tenths = math.ceil(left * 10) / 10
            raise BreakerOpen(self._breaker.name, f"is open; it may be tried again in {tenths:.1f} s", left)
        self._breaker.half_open()
        return self._breaker.epoch.admit()


class _ForcedOpen(Epoch, CircuitOpenState):
    kind = State.FORCED_OPEN

    def admit(self) -> Permit:
        """Refuse, whatever the time."""
        why = f"was forced open ({self._breaker.reason}); it may be tried again after a reset"
        raise BreakerOpen(self._breaker.name, why)


class _HalfOpen(Epoch, CircuitHalfOpenState):
    kind = State.HALF_OPEN

    def __init__(self, circuit: Circuit) -> None:
        super().__init__(circuit, None)
        circuit.window.reset_success_counter()

    def admit(self) -> Permit:
        """Let a probe through, unless as many are out as may be."""
        probes = self._breaker.policy.probes
        if self.out >= probes:
            why = f"is half-open with {self.out} of {probes} probes out; it may be tried again when one of them ends"
            raise BreakerOpen(self._breaker.name, why)
        self.out += 1
        return Permit(self)

    def on_success(self) -> None:
        """Give the permit back, count the success, and close after enough of them."""
        self.out -= 1
        super().on_success()

    def on_failure(self, exc: BaseException) -> None:  # type: ignore[override]  # pybreaker's never returns, it raises
        """Open again; raise nothing, the error stays with the caller."""
        self._breaker.open()

    def on_release(self) -> None:
        """Give the permit back."""
        self.out -= 1


_AnyState = _Closed | _Open | _ForcedOpen | _HalfOpen

_STATES: dict[State, type[_AnyState]] = {state.kind: state for state in (_Closed, _Open, _ForcedOpen, _HalfOpen)}


class Circuit(CircuitBreaker):
    """A pybreaker that moves along `states.TABLE` only and never runs a call itself. `clock` gives monotonic seconds.

    `since` is when it came into its state, `reason` what it was last forced open for.
    """

    name: str
    _state: _AnyState

    def __init__(
        self, name: str, policy: BreakerPolicy, clock: Callable[[], float], listeners: Iterable[CircuitBreakerListener]
    ) -> None:
        self.policy = policy
        self.clock = clock
        self.since = clock()
        self.reason = ""
        self.window = Window(policy.window)
        super().__init__(
            reset_timeout=policy.open_seconds,
            success_threshold=policy.probes,
            listeners=tuple(listeners),
            state_storage=self.window,
            name=name,
            throw_new_error_on_trip=False,
        )

    @property
    def epoch(self) -> Epoch:
        """The present state, which no later one is identical with."""
        return self._state

    # The moves: one for each event of the table. One that the table does not know raises and changes nothing.

    def open(self) -> bool:
        """Trip. False tells pybreaker to raise no error of its own."""
        self._move(Event.TRIP)
        return False

    def half_open(self) -> None:
        """Let probes through."""
        self._move(Event.TRY)

    def close(self) -> None:
        """Recover, with an empty window."""
        self._move(Event.RECOVER)

    def force_open(self, reason: str) -> None:
        """Refuse every call until `reset`."""
        self.reason = reason
        self._move(Event.FORCE)

    def reset(self) -> None:
        """Close from wherever it stands, with an empty window; what is under way counts no more."""
        self._move(Event.RESET)

    def _move(self, event: Event) -> None:
        after = follow(self._state.kind, event)
        self.since = self.clock()
        before, now = self._state, _STATES[after](self)
        self._state = now
        self.window.state = now.name
        if self._listeners:
            self._tell(lambda listener: listener.state_change(self, before, now))

    def _tell(self, heard: Callable[[CircuitBreakerListener], None]) -> None:
        for listener in self.listeners:
            try:
                heard(listener)
            except Exception:  # a listener only listens: the call goes on, and the other listeners hear as well
                log.exception("breaker.listener_failed", extra={"breaker": self.name})

    # What pybreaker has and a circuit of permits has not.

    def call(self, func: object, *args: object, **kwargs: object) -> NoReturn:
        """Refuse, and with it `calling` and the decorator, which come here."""
        raise TypeError("a breaker runs no call: ask it with `admit`, then tell it what came of the call")

    def call_async(self, func: object, *args: object, **kwargs: object) -> NoReturn:
        """Refuse, as `call` does."""
        self.call(func)

    def _create_new_state(
        self, new_state: str, prev_state: CircuitBreakerState | None = None, notify: bool = False
    ) -> _AnyState:
        """Make the state to begin with. pybreaker comes here for a later one if somebody sets `state`: refused."""
        if notify:
            raise TypeError("a breaker's state is not set: it changes by the moves of its table")
        return _STATES[State(new_state)](self)
