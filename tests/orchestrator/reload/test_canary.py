"""The judge of a canary: a worse one goes soon, an equal one stays, and no call is kept."""

from __future__ import annotations

import random
import re
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reload.canary import LATENCY_WINDOW, CanaryJudge, CanaryPolicy, Side, chosen

MINIMUM = CanaryPolicy().minimum_calls


@dataclass
class World:
    """Calls as they may come: each side fails at a rate and takes times of a log-normal distribution."""

    percent: float = 5.0
    canary: float = 0.0
    stable: float = 0.0
    canary_seconds: float = 0.02
    stable_seconds: float = 0.02
    spread: float = 0.5

    def judged(self, seed: int, calls: int) -> tuple[int, int, str]:
        """How many calls of the canary, how many of them failed, and why it went, or nothing."""
        draw, judge = random.Random(seed), CanaryJudge()
        took = failures = 0
        for _ in range(calls):
            side = Side.CANARY if draw.random() * 100 < self.percent else Side.STABLE
            rate, middle = self._of(side)
            failed = draw.random() < rate
            took += side is Side.CANARY
            failures += failed and side is Side.CANARY
            seconds = middle * draw.lognormvariate(0.0, self.spread)
            if judge.finished(side, failed=failed, seconds=seconds):
                break
        return took, failures, judge.reason

    def _of(self, side: Side) -> tuple[float, float]:
        if side is Side.CANARY:
            return self.canary, self.canary_seconds
        return self.stable, self.stable_seconds


@pytest.mark.parametrize("percent", [1.0, 5.0, 20.0])
@pytest.mark.parametrize("stable", [0.0, 0.01, 0.1])
def test_one_that_fails_half_its_calls_goes_after_the_minimum(percent: float, stable: float) -> None:
    for seed in range(5):
        took, failures, reason = World(percent, canary=0.5, stable=stable).judged(seed, 100_000)
        assert reason
        assert MINIMUM <= took <= MINIMUM + 10
        assert failures < 50


@pytest.mark.parametrize("rate", [0.0, 0.005, 0.05, 0.5])
def test_one_that_is_no_worse_stays(rate: float) -> None:
    for seed in range(4):
        assert World(canary=rate, stable=rate).judged(seed, 25_000)[2] == ""


@pytest.mark.parametrize("spread", [0.0, 0.3, 2.0])
def test_latencies_that_scatter_alike_are_no_reason(spread: float) -> None:
    for seed in range(4):
        assert World(spread=spread).judged(seed, 25_000)[2] == ""


def test_a_single_failure_beside_none_is_no_reason() -> None:
    judge = CanaryJudge()
    for number in range(20 * MINIMUM):
        judge.finished(Side.STABLE, failed=False, seconds=0.01)
        assert judge.finished(Side.CANARY, failed=number == 2 * MINIMUM, seconds=0.01) == ""


def test_a_slower_one_goes_and_says_by_how_much() -> None:
    took, _, reason = World(canary_seconds=0.08).judged(1, 100_000)
    assert took < 4 * MINIMUM
    assert re.fullmatch(
        r"its 95th percentile is [\d.]+ ms, and [\d.]+ ms the stable generation's; at most 2 times as much may be",
        reason,
    )


def test_one_slower_within_the_factor_stays() -> None:
    for seed in range(4):
        assert World(canary_seconds=0.03).judged(seed, 25_000)[2] == ""


def test_both_sides_that_become_slower_are_no_reason() -> None:
    draw, judge = random.Random(5), CanaryJudge()
    for number in range(20_000):
        side = Side.CANARY if draw.random() < 0.2 else Side.STABLE
        seconds = (0.01 if number < 10_000 else 0.5) * draw.lognormvariate(0.0, 0.4)
        assert judge.finished(side, failed=False, seconds=seconds) == ""


def test_no_quick_failure_makes_a_slow_one_look_fast() -> None:
    judge = CanaryJudge(CanaryPolicy(error_factor=1e9))
    for number in range(40 * MINIMUM):
        judge.finished(Side.STABLE, failed=False, seconds=0.01)
        judge.finished(Side.CANARY, failed=number % 20 > 0, seconds=0.5 if number % 20 == 0 else 0.0)
    assert judge.reason.startswith("its 95th percentile is")


def test_one_that_breaks_late_goes_as_soon() -> None:
    draw, judge = random.Random(7), CanaryJudge()
    failures = 0
    for number in range(200_000):
        side = Side.CANARY if draw.random() < 0.05 else Side.STABLE
        failed = side is Side.CANARY and number > 150_000 and draw.random() < 0.5
        failures += failed
        if judge.finished(side, failed=failed, seconds=0.01):
            break
    assert judge.reason
    assert failures < 50


def test_nothing_is_said_before_the_minimum() -> None:
    judge = CanaryJudge()
    for _ in range(1000):
        judge.finished(Side.STABLE, failed=False, seconds=0.01)
    said = [judge.finished(Side.CANARY, failed=True, seconds=9.0) for _ in range(MINIMUM)]
    assert said[:-1] == [""] * (MINIMUM - 1)
    assert said[-1] == (
        "50 of 50 (100.0%) of its calls failed, and 0 of 1000 (0.0%) of the stable generation's;"
        " at most 2 times as many may"
    )


def test_a_canary_without_anything_to_compare_it_with_is_not_judged() -> None:
    judge = CanaryJudge()
    assert not any(judge.finished(Side.CANARY, failed=True, seconds=9.0) for _ in range(1000))


def test_the_first_reason_stays() -> None:
    judge = CanaryJudge()
    for _ in range(1000):
        judge.finished(Side.STABLE, failed=False, seconds=0.01)
    for _ in range(MINIMUM):
        judge.finished(Side.CANARY, failed=True, seconds=0.01)
    reason = judge.reason
    assert judge.finished(Side.CANARY, failed=False, seconds=0.01) == reason
    assert reason


def test_the_figures_of_both_sides_can_be_asked_for() -> None:
    judge = CanaryJudge()
    judge.finished(Side.STABLE, failed=False, seconds=0.1)
    judge.finished(Side.CANARY, failed=True, seconds=0.1)
    figures = judge.figures()
    assert figures["canary"] == {"calls": 1, "failed": 1, "p95_seconds": 0.0}
    assert figures["stable"] == {"calls": 1, "failed": 0, "p95_seconds": pytest.approx(0.1, rel=0.08)}


def test_memory_does_not_grow_with_calls() -> None:
    def held(judge: CanaryJudge) -> int:
        return sum(map(sys.getsizeof, reachable(judge)))

    judge = CanaryJudge()
    for number in range(2 * LATENCY_WINDOW):
        judge.finished(Side.STABLE if number % 2 else Side.CANARY, failed=False, seconds=0.01 * (number % 7))
    before = held(judge)
    for number in range(10 * LATENCY_WINDOW):
        judge.finished(Side.STABLE if number % 2 else Side.CANARY, failed=False, seconds=0.01 * (number % 7))
    assert held(judge) == before


def reachable(root: object) -> list[object]:
    """The containers of our own that hang on an object."""
    found: dict[int, object] = {}
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if id(value) in found or isinstance(value, type | int | float | str) or callable(value):
            continue
        found[id(value)] = value
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        waiting += vars(value).values() if hasattr(value, "__dict__") else []
        waiting += [getattr(value, name) for name in getattr(type(value), "__slots__", ())]
    return list(found.values())


@given(st.binary(), st.binary(), st.floats(0, 100), st.floats(0, 100))
def test_who_is_chosen_stays_chosen_at_a_higher_percentage(key: bytes, salt: bytes, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert chosen(key, salt, low) == chosen(key, salt, low)
    assert chosen(key, salt, high) or not chosen(key, salt, low)
    assert chosen(key, salt, 100.0)
    assert not chosen(key, salt, 0.0)


@pytest.mark.parametrize("percent", [1.0, 5.0, 50.0, 99.0])
@pytest.mark.parametrize("salt", [b"", b"r7", b"words"])
def test_the_choice_is_uniform(percent: float, salt: bytes) -> None:
    count = 40_000
    found = sum(chosen(f"tenant-{number}".encode(), salt, percent) for number in range(count))
    part = percent / 100
    deviation = (count * part * (1 - part)) ** 0.5
    assert abs(found - count * part) < 4 * deviation


def test_another_salt_chooses_others() -> None:
    keys = [str(number).encode() for number in range(10_000)]
    both = sum(chosen(key, b"r7", 10.0) and chosen(key, b"r8", 10.0) for key in keys)
    assert 60 < both < 145, "a tenth of a tenth, give or take"


def test_salt_and_key_do_not_run_into_each_other() -> None:
    pairs = [(b"ab", b"c"), (b"a", b"bc"), (b"abc", b""), (b"", b"abc")]
    answers = {tuple(chosen(key, salt, percent) for percent in range(101)) for salt, key in pairs}
    assert len(answers) == len(pairs)
