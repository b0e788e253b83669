"""The test behind the judge: seldom wrong however often it is asked, and equal to a search over all rates."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reload.evidence import Tally, beyond


def tallies() -> st.SearchStrategy[Tally]:
    return st.integers(0, 400).flatmap(lambda calls: st.builds(Tally, st.just(calls), st.integers(0, calls)))


@given(tallies(), tallies(), st.floats(1.0, 10.0), st.floats(0.001, 0.2), st.floats(0.5, 20.0))
def test_it_finds_what_a_search_over_all_rates_finds(
    tally: Tally, other: Tally, factor: float, floor: float, doubt: float
) -> None:
    rates = [number / 2000 for number in range(2001)]
    allowed = max(tally.likelihood(max(rate, floor)) + other.likelihood(rate) for rate in rates)
    evidence = tally.mixed() + other.mixed() - allowed
    limit = factor * max(other.rate, floor)
    near = abs(evidence - doubt) < 0.5  # the search is coarse
    assert near or beyond(tally, other, factor, floor, doubt) == (evidence >= doubt and tally.rate > limit)


def test_the_mixture_is_the_sequence_of_guesses_of_krichevsky_and_trofimov() -> None:
    tally, expected = Tally(), 0.0
    for hit in (True, False, False, True, True, False, False, False):
        guess = (tally.hits + 0.5) / (tally.calls + 1)
        expected += math.log(guess if hit else 1 - guess)
        tally.calls += 1
        tally.hits += hit
        assert tally.mixed() == pytest.approx(expected)


@pytest.mark.parametrize("rate", [0.005, 0.02, 0.3])
def test_asked_after_every_call_it_is_wrong_no_oftener_than_it_says(rate: float) -> None:
    """At the very limit of what is allowed, where being wrong is likeliest; one in e² of the histories would do."""
    draw, doubt, wrong, histories = random.Random(11), 2.0, 0, 300
    for _ in range(histories):
        tally, other = Tally(), Tally()
        for _ in range(400):
            tally.calls += 1
            tally.hits += draw.random() < rate
            other.calls += 1
            other.hits += draw.random() < rate
            if beyond(tally, other, 1.0, 0.001, doubt):
                wrong += 1
                break
    assert wrong <= histories * math.exp(-doubt)


def test_more_than_the_factor_is_found_and_the_factor_itself_is_not() -> None:
    stable = Tally(10_000, 100)
    assert not beyond(Tally(2000, 40), stable, 2.0, 0.005, 9.0)
    assert beyond(Tally(2000, 80), stable, 2.0, 0.005, 9.0)
