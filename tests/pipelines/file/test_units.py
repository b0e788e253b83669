"""Durations and sizes."""

from __future__ import annotations

import pytest

from pipelines.file.durations import nearest_amount
from pipelines.file.units import BYTES, SECONDS, amount, show_seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("50ms", 0.05), ("5s", 5.0), ("1m", 60.0), ("1.5s", 1.5), ("2h", 7200.0)]
)
def test_a_duration_is_its_seconds(text: str, seconds: float) -> None:
    assert amount(text, SECONDS) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "s", "5 s", "-5s", "5S", "1:30", "5sec", "1e3s", "16MiB", ""])
def test_anything_else_is_none(text: str) -> None:
    assert amount(text, SECONDS) is None


def test_sizes_have_units_of_their_own() -> None:
    assert amount("16MiB", BYTES) == 16 * 2**20


@pytest.mark.parametrize("text", ["50ms", "5s", "1m", "2h", "250ms", "90s"])
def test_a_duration_is_written_back_as_it_was(text: str) -> None:
    assert show_seconds(amount(text, SECONDS) or 0) == text


@pytest.mark.parametrize(
    ("text", "meant"), [("5sec", "5s"), ("50 ms", "50ms"), ("2 Minutes", "2m"), ("5", None), ("x", None)]
)
def test_a_slip_in_a_unit_is_guessed(text: str, meant: str | None) -> None:
    assert nearest_amount(text) == meant
