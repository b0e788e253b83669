"""Durations and sizes of manifests."""

from __future__ import annotations

import pytest

from isolation.manifest.units import parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("1.5s", 1.5), ("2m", 120.0), ("1h", 3600.0), ("5us", 5e-6)]
)
def test_a_duration_has_a_unit(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("7B", 7), ("1kB", 1000), ("1KiB", 1024), ("1.5MiB", 1572864), ("2GB", 2 * 10**9)]
)
def test_a_size_has_a_unit(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "5S", "1e3s", "5s5s", "٥s", "nans"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit"):
        parse_seconds(text)
