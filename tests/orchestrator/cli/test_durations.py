"""Durations as options."""

from __future__ import annotations

import click
import pytest

from orchestrator.cli.durations import DURATION


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
