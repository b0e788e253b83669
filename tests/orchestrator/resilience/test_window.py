"""The window: only the last outcomes count, and their rate is what one reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.resilience.window import Window


@given(st.integers(1, 12), st.lists(st.booleans() | st.none(), max_size=60))
def test_it_counts_the_last_outcomes_as_a_list_would(size: int, outcomes: list[bool | None]) -> None:
    window, kept = Window(size), list[bool]()
    for failed in outcomes:
        if failed is None:
            window.reset_counter()
            kept.clear()
        else:
            window.take(failed)
            kept = [*kept, failed][-size:]
        assert (window.calls, window.counter) == (len(kept), sum(kept))
        assert window.failure_rate == (sum(kept) / len(kept) if kept else 0.0)


@given(st.integers(1, 50), st.integers(1, 100))
def test_a_percentage_that_is_reached_exactly_is_reached(hundreds: int, percent: int) -> None:
    window = Window(100 * hundreds)
    for number in range(100 * hundreds):
        window.take(failed=number < percent * hundreds)
    assert window.failure_rate == float(f"{percent}e-2")


def test_seven_of_a_hundred_reach_seven_percent() -> None:
    window = Window(100)
    for number in range(100):
        window.take(failed=number < 7)
    assert window.failure_rate >= 0.07
    assert not 7 >= 0.07 * 100, "the trap that the window avoids is gone"


def test_pybreakers_own_counter_is_the_windows() -> None:
    window = Window(3)
    for _ in range(5):
        window.increment_counter()
    assert window.counter == window.calls == 3
