"""Durations as options: written as in a pipeline file, `500ms`, `30m`, `12h`."""

from __future__ import annotations

import click

__all__ = ["DURATION", "Duration"]


class Duration(click.ParamType):  # type: ignore[type-arg]  # of two in click 8.5, of none in 8.2
    """From `least` to `most`, as they are written, where they are given; the value is in seconds."""

    name = "duration"

    def __init__(self, least: str = "", most: str = "") -> None:
        self.least = least
        self.most = most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        from pipelines.file.durations import nearest_amount
        from pipelines.file.units import SECONDS, amount

        if isinstance(value, float):
            return value
        words = str(value)
        seconds = amount(words, SECONDS)
        if seconds is None:
            close = nearest_amount(words)
            meant = f"did you mean {close!r}?" if close else "write 30s, 30m or 12h"
            self.fail(f"{words!r} is no duration; {meant}", param, ctx)
        if seconds <= 0:
            self.fail(f"{words} is no time at all", param, ctx)
        if self.least and seconds < (amount(self.least, SECONDS) or 0.0):
            self.fail(f"{self.least} is the least", param, ctx)
        if self.most and seconds > (amount(self.most, SECONDS) or 0.0):
            self.fail(f"{self.most} is the most", param, ctx)
        return seconds


DURATION = Duration()
"""A duration above zero; the value is in seconds."""
