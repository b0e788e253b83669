"""Latencies in steps: the quantile of the last ones as a sorted list has it, within one step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reload.latencies import STEPS_PER_FACTOR_E, Latencies

STEP = math.exp(1 / STEPS_PER_FACTOR_E)


@given(st.integers(1, 20), st.lists(st.floats(1e-5, 1000.0), min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_a_quantile_is_that_of_the_last_ones_within_a_step(size: int, taken: list[float], part: float) -> None:
    latencies = Latencies(size)
    for seconds in taken:
        latencies.take(seconds)
    last = sorted(taken[-size:])
    exact = last[math.ceil(part * len(last)) - 1]
    assert latencies.known == len(last)
    assert exact * 0.999 <= latencies.quantile(part) <= exact * STEP * 1.001


def test_nothing_known_is_no_latency() -> None:
    assert Latencies(4).quantile(0.95) == 0.0


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e9])
def test_what_cannot_be_counts_as_the_nearest_that_can(seconds: float) -> None:
    latencies = Latencies(4)
    latencies.take(seconds)
    assert 0.0 < latencies.quantile(0.5) < 2000.0
