"""Durations as options."""

from __future__ import annotations

import click
import pytest

from orchestrator.cli.durations import DURATION, Duration


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800.0), ("500ms", 0.5), ("1.5h", 5400.0), ("2d", 172_800.0)])
def test_a_duration_is_written_as_in_a_pipeline_file(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("30", "'30' is no duration; write 30s, 30m or 12h"),
        ("30min", "did you mean '30m'?"),
        ("30 m", "did you mean '30m'?"),
        ("-5m", "'-5m' is no duration"),
        ("0s", "0s is no time at all"),
        ("soon", "'soon' is no duration"),
    ],
)
def test_anything_else_is_wrong_usage(text: str, said: str) -> None:
    with pytest.raises(click.BadParameter, match=r"duration|no time") as refusal:
        DURATION.convert(text, None, None)
    assert said in refusal.value.message


@pytest.mark.parametrize(("text", "said"), [("1ms", "100ms is the least"), ("2m", "60s is the most")])
def test_what_is_out_of_bounds_is_told_with_the_bound(text: str, said: str) -> None:
    bounded = Duration("100ms", "60s")
    assert (bounded.convert("100ms", None, None), bounded.convert("1m", None, None)) == (0.1, 60.0)
    with pytest.raises(click.BadParameter, match="is the") as refusal:
        bounded.convert(text, None, None)
    assert refusal.value.message == said
