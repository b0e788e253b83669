"""One breaker as its callers see it: asked before a call, told afterwards what came of it, looked at.

pybreaker wraps a call and holds its lock until the call ends. Here nothing is held in between: what joins the two
moments is a permit. A breaker belongs to one thread, the event loop's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pybreaker import CircuitBreakerListener

from orchestrator.resilience.circuit import Circuit, Epoch, Permit
from orchestrator.resilience.errors import BreakerOpen, IllegalSettlement
from orchestrator.resilience.states import State
from pipelines.plan import BreakerPolicy

__all__ = ["Breaker", "BreakerOpen", "BreakerView", "IllegalSettlement", "Permit"]


@dataclass(frozen=True, slots=True)
class BreakerView:
    """A breaker as it stood when it was looked at. `state` is in pybreaker's words; a `forced` one is open.

    `calls` and `failures` are the known outcomes of the window, which stands still from when the breaker opens until
    it closes. `since_seconds` is for how long it has been in its state; `retry_seconds` when it may be tried again,
    None unless that is a matter of time; `reason` what it was forced open for.
    """

    name: str
    plugin: str
    stage: str
    policy: str
    state: str
    calls: int
    failures: int
    failure_rate: float
    since_seconds: float
    retry_seconds: float | None
    probes_out: int
    forced: bool
    reason: str


class Breaker(Circuit):
    """The breaker of one stage of one generation ("plugin@digest") under one policy.

    Its listeners are pybreaker's: they hear of each admitted call, of each known outcome, also of one that comes too
    late to count, and of each move along the table, once. `before_call` gets `admit` in the place of a function.
    What a listener raises is logged and goes no further.
    """

    def __init__(
        self,
        generation: str,
        stage: str,
        policy: BreakerPolicy,
        clock: Callable[[], float],
        listeners: Iterable[CircuitBreakerListener] = (),
    ) -> None:
        super().__init__(f"{generation}/{stage} {policy.name}", policy, clock, listeners)
        self.generation = generation
        self.plugin = generation.partition("@")[0]
        self.stage = stage

    def admit(self) -> Permit:
        """Let a call through, or raise BreakerOpen. The permit must be settled, by one of the next three methods."""
        permit = self._state.admit()
        if self._listeners:
            self._tell(lambda listener: listener.before_call(self, self.admit))
        return permit

    def succeeded(self, permit: Permit) -> None:
        """Settle a permit: the plugin answered."""
        self._count(self._settle(permit), None)

    def failed(self, permit: Permit, error: BaseException) -> None:
        """Settle a permit: the plugin failed. `error` stays with the caller, also when it opens the breaker."""
        self._count(self._settle(permit), error)

    def released(self, permit: Permit) -> None:
        """Settle a permit: the call was cancelled, or refused elsewhere. Nothing is counted."""
        self._settle(permit).on_release()

    def record(self, error: BaseException | None) -> None:
        """Note how a call without a permit ended, an undo; None is a success.

        It counts while the breaker is closed. A half-open one is left to its probes: an undo that ends now may have
        begun before it opened.
        """
        self._count(self._state if self._state.kind is State.CLOSED else None, error)

    def view(self) -> BreakerView:
        """Say how it stands."""
        now, state, window = self.clock(), self._state, self.window
        forced = state.kind is State.FORCED_OPEN
        return BreakerView(
            name=self.name,
            plugin=self.plugin,
            stage=self.stage,
            policy=self.policy.name,
            state=state.name,
            calls=window.calls,
            failures=window.counter,
            failure_rate=window.failure_rate,
            since_seconds=now - self.since,
            retry_seconds=None if state.retry_at is None else max(0.0, state.retry_at - now),
            probes_out=state.out,
            forced=forced,
            reason=self.reason if forced else "",
        )

    def _settle(self, permit: Permit) -> Epoch:
        epoch = permit.epoch
        if epoch is None:
            raise IllegalSettlement(f"a permit of breaker {self.name} was settled before")
        if epoch is not self._state and epoch.circuit is not self:
            raise IllegalSettlement(f"a permit of breaker {epoch.circuit.name} was brought to {self.name}")
        permit.epoch = None
        return epoch

    def _count(self, epoch: Epoch | None, error: BaseException | None) -> None:
        """Tell the listeners, then let the outcome count, if its epoch is still the present one."""
        if self._listeners:
            self._tell_outcome(error)
        if epoch is not self._state:
            return
        if error is None:
            epoch.on_success()
        else:
            epoch.on_failure(error)

    def _tell_outcome(self, error: BaseException | None) -> None:
        if error is None:
            self._tell(lambda listener: listener.success(self))
        else:
            self._tell(lambda listener: listener.failure(self, error))
