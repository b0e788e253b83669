"""Restart intensity: how many ends are too many, and how long to wait after each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.supervision import Intensity, RestartLog

STRICT = Intensity(restarts=3, period_seconds=10.0, first_seconds=0.05, longest_seconds=0.15)


def test_the_pause_doubles_up_to_its_longest_and_then_there_is_none() -> None:
    log = RestartLog(STRICT)
    assert [log.ended(now, planned=False) for now in (0.0, 1.0, 2.0, 3.0)] == [0.0, 0.05, 0.1, None]
    patient = RestartLog(Intensity(restarts=10, longest_seconds=0.15))
    assert [patient.ended(0.0, planned=False) for _ in range(5)] == [0.0, 0.05, 0.1, 0.15, 0.15]


def test_only_the_ends_within_the_period_count() -> None:
    log = RestartLog(STRICT)
    for now in (0.0, 1.0, 2.0):
        log.ended(now, planned=False)
    assert log.ended(10.0, planned=False) == 0.1, "the first end is ten seconds old and forgotten"
    assert log.ended(10.5, planned=False) is None


def test_planned_ends_do_not_count() -> None:
    log = RestartLog(STRICT)
    assert {log.ended(0.0, planned=True) for _ in range(100)} == {0.0}
    assert log.ended(0.0, planned=False) == 0.0


def test_no_restarts_at_all_can_be_asked_for() -> None:
    assert RestartLog(Intensity(restarts=0)).ended(0.0, planned=False) is None


def test_a_very_patient_intensity_stays_at_its_longest_pause() -> None:
    log = RestartLog(Intensity(restarts=5000))
    assert [log.ended(0.0, planned=False) for _ in range(5000)][-1] == 5.0


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=60), st.integers(0, 5))
def test_it_gives_up_exactly_when_the_window_holds_too_many(ends: list[tuple[float, bool]], restarts: int) -> None:
    log = RestartLog(Intensity(restarts=restarts, period_seconds=5.0))
    now, unplanned = 0.0, list[float]()
    for step, planned in ends:
        now += step
        pause = log.ended(now, planned=planned)
        if planned:
            assert pause == 0.0
            continue
        unplanned.append(now)
        recent = [end for end in unplanned if end > now - 5.0]
        assert (pause is None) == (len(recent) > restarts)
        assert pause is None or 0.0 <= pause <= 5.0


@pytest.mark.parametrize("planned", [True, False])
def test_a_pause_is_never_negative(planned: bool) -> None:
    assert (RestartLog(Intensity()).ended(0.0, planned=planned) or 0.0) >= 0.0
