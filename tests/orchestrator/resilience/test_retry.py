"""What is tried again and after which pause: every rule of the module, on faults made by hand and a draw handed in."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.faults import CLASSES, StageFault
from orchestrator.resilience.retry import SAFE, Retries
from pipelines.plan import Jitter, RetryPolicy

EVERY = frozenset({"WorkerLost", "Busy", "Retryable", "DeadlineExceeded", "PluginError"})
POLICY = RetryPolicy("p", 10, EVERY, 0.1, 1.0, 2.0, Jitter.NONE)
UNKNOWN = EVERY - SAFE


def fault(kind: str, *, sent: bool = True, final: bool = False) -> StageFault:
    return StageFault(kind, CLASSES.get(kind, "penstock.internal"), "as told", sent, final)


def highest(low: float, high: float) -> float:
    return high


@dataclass
class Drawing:
    """Randomness that notes what it was asked for."""

    draw: Callable[[float, float], float]
    asked: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, low: float, high: float) -> float:
        self.asked.append((low, high))
        return self.draw(low, high)


def pauses(retries: Retries, faults: Iterator[StageFault] | list[StageFault]) -> list[float | None]:
    """The pause after each failure, up to the first that has none."""
    trail, found = retries.begin(), list[float | None]()
    for one in faults:
        found.append(trail.pause(one))
        if found[-1] is None:
            break
    return found


def is_repeated(one: StageFault, policy: RetryPolicy = POLICY, *, idempotent: bool) -> bool:
    return Retries(policy, idempotent=idempotent, draw=highest).begin().pause(one) is not None


# What is tried again.


@pytest.mark.parametrize("kind", sorted(CLASSES))
@pytest.mark.parametrize("idempotent", [True, False])
def test_a_call_that_was_never_sent_is_always_repeated(kind: str, *, idempotent: bool) -> None:
    nothing_named = replace(POLICY, on=frozenset())
    wanted = kind != "BreakerOpen"
    assert is_repeated(fault(kind, sent=False), nothing_named, idempotent=idempotent) is wanted


@pytest.mark.parametrize("kind", sorted(SAFE))
@pytest.mark.parametrize("idempotent", [True, False])
def test_what_the_plugin_refused_for_now_is_repeated_where_the_policy_names_it(kind: str, *, idempotent: bool) -> None:
    assert is_repeated(fault(kind), idempotent=idempotent)
    assert not is_repeated(fault(kind), replace(POLICY, on=EVERY - {kind}), idempotent=idempotent)


@pytest.mark.parametrize("kind", sorted(UNKNOWN))
def test_a_call_of_unknown_outcome_is_repeated_only_where_it_is_named_and_the_stage_is_idempotent(kind: str) -> None:
    assert is_repeated(fault(kind), idempotent=True)
    assert not is_repeated(fault(kind), idempotent=False), "a policy is narrowed to what is safe for the stage"
    assert not is_repeated(fault(kind), replace(POLICY, on=EVERY - {kind}), idempotent=True)


@pytest.mark.parametrize("kind", sorted(CLASSES))
@pytest.mark.parametrize("sent", [True, False])
def test_what_another_try_cannot_mend_is_never_repeated(kind: str, *, sent: bool) -> None:
    assert not is_repeated(fault(kind, sent=sent, final=True), idempotent=True)


@pytest.mark.parametrize("sent", [True, False])
def test_an_open_breaker_is_never_asked_again_whatever_the_policy_names(*, sent: bool) -> None:
    everything = replace(POLICY, on=frozenset(CLASSES))
    assert not is_repeated(fault("BreakerOpen", sent=sent), everything, idempotent=True)


# How often.


@given(st.integers(1, 20))
def test_attempts_counts_the_first_one(attempts: int) -> None:
    retries = Retries(replace(POLICY, attempts=attempts), idempotent=True, draw=highest)
    found = pauses(retries, [fault("Busy", sent=False)] * 30)
    assert len(found) == attempts
    assert found[-1] is None
    assert None not in found[:-1]


@pytest.mark.parametrize("second", [fault("WorkerLost"), fault("Busy", sent=False), fault("Retryable")])
def test_after_a_death_there_is_one_more_attempt_whatever_comes_of_it(second: StageFault) -> None:
    retries = Retries(replace(POLICY, attempts=20), idempotent=True, draw=highest)
    assert [one is None for one in pauses(retries, [fault("WorkerLost"), second, second])] == [False, True]


def test_a_death_that_comes_late_leaves_one_more_attempt_too() -> None:
    retries = Retries(replace(POLICY, attempts=20), idempotent=True, draw=highest)
    faults = [fault("Busy"), fault("Retryable"), fault("WorkerLost"), fault("Busy"), fault("Busy")]
    assert [one is None for one in pauses(retries, faults)] == [False, False, False, True]


def test_a_worker_that_ended_before_it_had_the_call_is_no_death() -> None:
    retries = Retries(replace(POLICY, attempts=6), idempotent=True, draw=highest)
    assert len(pauses(retries, [fault("WorkerLost", sent=False)] * 10)) == 6


@given(st.lists(st.sampled_from([fault("WorkerLost"), fault("Busy"), fault("DeadlineExceeded")]), max_size=12))
def test_no_call_kills_more_than_two_workers(faults: list[StageFault]) -> None:
    found = pauses(Retries(replace(POLICY, attempts=20), idempotent=True, draw=highest), faults)
    assert sum(one.kind == "WorkerLost" for one in faults[: len(found)]) <= 2


def test_two_runs_count_for_themselves() -> None:
    retries = Retries(replace(POLICY, attempts=2), idempotent=True, draw=highest)
    first, second = retries.begin(), retries.begin()
    assert first.pause(fault("WorkerLost")) is not None
    assert second.pause(fault("Busy")) is not None
    assert first.pause(fault("Busy")) is None


# How long.


def test_pauses_grow_by_the_factor_up_to_the_longest() -> None:
    busy = [fault("Busy")] * 6
    assert pauses(Retries(POLICY, idempotent=False, draw=highest), busy) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1, 1])
    slow = replace(POLICY, factor=3.0, longest_seconds=0.5)
    assert pauses(Retries(slow, idempotent=False, draw=highest), busy[:4]) == pytest.approx([0.1, 0.3, 0.5, 0.5])
    steady = replace(POLICY, factor=1.0)
    assert pauses(Retries(steady, idempotent=False, draw=highest), busy[:4]) == pytest.approx([0.1] * 4)


def test_without_jitter_nothing_is_drawn() -> None:
    draw = Drawing(highest)
    pauses(Retries(POLICY, idempotent=False, draw=draw), [fault("Busy")] * 4)
    assert draw.asked == []


def test_full_jitter_draws_each_pause_from_nothing_up_to_the_backoff() -> None:
    draw = Drawing(lambda low, high: (low + high) / 4)
    policy = replace(POLICY, jitter=Jitter.FULL)
    found = pauses(Retries(policy, idempotent=False, draw=draw), [fault("Busy")] * 5)
    assert [low for low, _ in draw.asked] == [0.0] * 5
    assert [high for _, high in draw.asked] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0])
    assert found == pytest.approx([0.025, 0.05, 0.1, 0.2, 0.25])


@given(st.integers(0, 2**32))
def test_jittered_pauses_differ_and_stay_within_bounds(seed: int) -> None:
    policy = replace(POLICY, jitter=Jitter.FULL, attempts=20)
    found = pauses(Retries(policy, idempotent=False, draw=random.Random(seed).uniform), [fault("Busy")] * 19)
    for place, pause in enumerate(found):
        assert pause is not None
        assert 0.0 <= pause <= min(1.0, 0.1 * 2.0**place) + 1e-9
    assert len(set(found)) > 15
