"""What is counted by, and that no plugin and no reload can make it grow without end."""

from __future__ import annotations

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.faults import CODES
from orchestrator.metrics.distribution import DURATION_BOUNDS, Distribution
from orchestrator.metrics.tallies import CODES_PER_STAGE, LEFT_BEHIND, OTHER, Codes, Kept, StageTally


@given(st.lists(st.floats(0.0, 1000.0)))
def test_every_duration_falls_into_one_range(seconds: list[float]) -> None:
    """A bound belongs to the range below it, as `le` says."""
    durations = Distribution()
    for one in seconds:
        durations.note(one)
    for place, bound in enumerate(DURATION_BOUNDS):
        at_most = bisect.bisect_right(sorted(seconds), bound)
        assert sum(durations.counts[: place + 1]) == at_most
    assert durations.count == len(seconds)
    assert durations.total == pytest.approx(sum(seconds))


def test_a_copy_counts_no_further() -> None:
    durations = Distribution()
    durations.note(0.3)
    copy = durations.copy()
    durations.note(0.3)
    assert (copy.count, copy.total, durations.count) == (1, 0.3, 2)


def test_a_plugin_cannot_make_codes_without_end() -> None:
    codes = Codes()
    for number in range(5000):
        codes.count(f"tenant.{number}")
    codes.count("tenant.0")
    assert len(codes.counts) == CODES_PER_STAGE + 1
    assert codes.counts["tenant.0"] == 2
    assert codes.counts[OTHER] == 5000 - CODES_PER_STAGE


def test_the_codes_of_the_host_are_told_apart_whatever_the_plugin_says() -> None:
    codes = Codes()
    for number in range(5000):
        codes.count(f"x{number}")
    for code in CODES:
        codes.count(code)
    assert all(codes.counts[code] == 1 for code in CODES)


@given(st.lists(st.text(st.characters(), max_size=200)))
def test_any_code_can_be_written(said: list[str]) -> None:
    """A label is UTF-8: a lone surrogate would cost the whole page."""
    codes = Codes()
    for code in ["\ud800", *said]:
        codes.count(code)
    assert all(code.encode() is not None and len(code) <= 64 for code in codes.counts)
    assert sum(codes.counts.values()) == len(said) + 1


def test_what_is_in_service_is_kept_and_of_the_rest_the_newest() -> None:
    served = {f"served{number}" for number in range(3)}
    kept = Kept[str, StageTally](StageTally, lambda: served)
    first = kept.of("served0")
    for number in range(1000):
        kept.of(f"gone{number}")
    for name in served:
        kept.of(name)
    assert kept.of("served0") is first
    assert served <= set(kept.all)
    assert len(kept.all) <= LEFT_BEHIND + len(served)
    assert "gone999" in kept.all
    assert "gone1" not in kept.all
