"""A breaker beside a simple slow one: whatever happens to both, they agree, and only the table's moves are heard."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from breaking import GENERATION, Clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from pybreaker import CircuitBreaker, CircuitBreakerListener, CircuitBreakerState

from orchestrator.resilience.breaker import Breaker, BreakerOpen, IllegalSettlement, Permit
from orchestrator.resilience.circuit import Epoch
from orchestrator.resilience.states import TABLE, State
from pipelines.plan import BreakerPolicy

CLOSED, OPEN, HALF_OPEN, FORCED = State.CLOSED, State.OPEN, State.HALF_OPEN, State.FORCED_OPEN


class Watching(CircuitBreakerListener):
    """Notes each change, and everything else by its name."""

    def __init__(self) -> None:
        self.changes: list[tuple[State, State]] = []
        self.known = 0

    def success(self, cb: CircuitBreaker) -> None:
        """Count an outcome."""
        self.known += 1

    def failure(self, cb: CircuitBreaker, exc: BaseException) -> None:
        """Count an outcome."""
        self.known += 1

    def state_change(
        self, cb: CircuitBreaker, old_state: CircuitBreakerState | None, new_state: CircuitBreakerState
    ) -> None:
        """Note a change."""
        assert isinstance(old_state, Epoch) and isinstance(new_state, Epoch)
        self.changes.append((old_state.kind, new_state.kind))


@dataclass
class Model:
    """A breaker as one would tell it: a list of outcomes, a set of probes, an epoch's number."""

    policy: BreakerPolicy
    state: State = CLOSED
    epoch: int = 0
    outcomes: list[bool] = field(default_factory=list)
    probes: set[int] = field(default_factory=set)
    probes_succeeded: int = 0
    since: float = 0.0
    issued: int = 0
    changes: list[tuple[State, State]] = field(default_factory=list)

    def move(self, after: State, now: float) -> None:
        self.changes.append((self.state, after))
        self.state = after
        self.epoch += 1
        self.since = now
        self.probes.clear()
        self.probes_succeeded = 0
        if after is CLOSED:
            self.outcomes.clear()

    def admit(self, now: float) -> tuple[int, int] | None:
        """Return the permit, its number and its epoch, or None."""
        if self.state is OPEN and now - self.since >= self.policy.open_seconds:
            self.move(HALF_OPEN, now)
        if self.state in (OPEN, FORCED) or len(self.probes) == self.policy.probes:
            return None
        self.issued += 1
        if self.state is HALF_OPEN:
            self.probes.add(self.issued)
        return self.issued, self.epoch

    def settle(self, permit: tuple[int, int], failed: bool | None, now: float) -> None:
        number, epoch = permit
        if epoch != self.epoch:
            return
        self.probes.discard(number)
        if failed is None:
            return
        if self.state is CLOSED:
            self.count(failed, now)
        elif failed:
            self.move(OPEN, now)
        else:
            self.probes_succeeded += 1
            if self.probes_succeeded == self.policy.probes:
                self.move(CLOSED, now)

    def count(self, failed: bool, now: float) -> None:
        self.outcomes.append(failed)
        recent = self.recent
        enough = len(recent) >= self.policy.minimum_calls
        if failed and enough and sum(recent) / len(recent) >= self.policy.failure_rate:
            self.move(OPEN, now)

    @property
    def recent(self) -> list[bool]:
        return self.outcomes[-self.policy.window :]


@st.composite
def policies(draw: st.DrawFn) -> BreakerPolicy:
    """Small ones, so that a few calls reach everything."""
    window = draw(st.integers(1, 6))
    return BreakerPolicy(
        "drawn",
        window=window,
        minimum_calls=draw(st.integers(1, window)),
        failure_rate=draw(st.sampled_from([0.1, 1 / 3, 0.5, 0.75, 1.0])),
        open_seconds=float(draw(st.integers(0, 4))),
        probes=draw(st.integers(1, 3)),
    )


Pair = tuple[Permit, tuple[int, int]]


class BreakerMachine(RuleBasedStateMachine):
    """Two breakers that hear the same."""

    permits: Bundle[Pair] = Bundle("permits")
    settled: Bundle[Pair] = Bundle("settled")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.known = 0

    @initialize(policy=policies())
    def begin(self, policy: BreakerPolicy) -> None:
        self.watching = Watching()
        self.breaker = Breaker(GENERATION, "mask", policy, self.clock, [self.watching])
        self.model = Model(policy, since=self.clock.now)

    @rule(target=permits, calls=st.integers(1, 4))
    def admit(self, calls: int) -> MultipleResults[Pair]:
        return multiple(*filter(None, [self._admit() for _ in range(calls)]))

    def _admit(self) -> Pair | None:
        expected = self.model.admit(self.clock.now)
        if expected is not None:
            return self.breaker.admit(), expected
        with pytest.raises(BreakerOpen) as refused:
            self.breaker.admit()
        if self.model.state is OPEN:
            left = self.model.since + self.model.policy.open_seconds - self.clock.now
            assert refused.value.retry_seconds == left > 0
        else:
            assert refused.value.retry_seconds is None
        return None

    @rule(target=settled, pair=consumes(permits), failed=st.sampled_from([False, True, None]))
    def settle(self, pair: Pair, failed: bool | None) -> Pair:
        if failed is None:
            self.breaker.released(pair[0])
        elif failed:
            self.breaker.failed(pair[0], ValueError())
        else:
            self.breaker.succeeded(pair[0])
        self.known += failed is not None
        self.model.settle(pair[1], failed, self.clock.now)
        return pair

    @rule(pair=settled, way=st.integers(0, 2))
    def settle_again(self, pair: Pair, way: int) -> None:
        breaker, permit = self.breaker, pair[0]
        with pytest.raises(IllegalSettlement):
            (breaker.succeeded, breaker.released, lambda one: breaker.failed(one, ValueError()))[way](permit)

    @rule(failed=st.booleans())
    def record(self, failed: bool) -> None:
        self.breaker.record(ValueError() if failed else None)
        if self.model.state is CLOSED:
            self.model.count(failed, self.clock.now)
        self.known += 1

    @rule(seconds=st.sampled_from([0.0, 0.25, 1.0, 4.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def calls_fail_until_it_opens_and_its_time_is_over(self) -> None:
        """What chance alone would rarely do: from here the next call is a probe."""
        while self.model.state is CLOSED:
            pair = self._admit()
            assert pair is not None
            self.settle(pair, failed=True)
        self.time_passes(self.model.policy.open_seconds)

    @rule(does=st.sampled_from(["nothing"] * 6 + ["reset", "force"]))
    def the_operator(self, does: str) -> None:
        """Seldom does anything: each time the breaker begins anew, and most of what matters takes some calls."""
        if does == "reset":
            self.breaker.reset()
            self.model.move(CLOSED, self.clock.now)
        elif does == "force":
            self.breaker.force_open("drill")
            self.model.move(FORCED, self.clock.now)

    @invariant()
    def they_agree(self) -> None:
        model, view = self.model, self.breaker.view()
        recent = model.recent
        assert view.state == ("open" if model.state is FORCED else model.state.value)
        assert view.forced == (model.state is FORCED)
        assert (view.calls, view.failures) == (len(recent), sum(recent))
        assert view.probes_out == len(model.probes) <= model.policy.probes
        assert view.since_seconds == self.clock.now - model.since

    @invariant()
    def listeners_heard_everything_once(self) -> None:
        assert self.watching.changes == self.model.changes
        assert self.watching.known == self.known

    @invariant()
    def it_moves_only_along_the_table(self) -> None:
        before = CLOSED
        for left, entered in self.watching.changes:
            assert left is before
            assert entered in TABLE[left].values()
            before = entered
        assert self.breaker.epoch.kind is before


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(stateful_step_count=80)
