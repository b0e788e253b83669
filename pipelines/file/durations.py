"""Shapes of time: a duration, or the name of one. A number without a unit is refused, with what it could be."""

from __future__ import annotations

import re
from typing import NamedTuple

from pipelines.file.names import NAME
from pipelines.file.reading import INVALID, Log, Schema, Site, wrong_type
from pipelines.file.tree import Leaf, Tree
from pipelines.file.units import SECONDS, amount

__all__ = ["Amount", "Timeout", "nearest_amount"]


class Amount(NamedTuple):
    """A duration above zero, in seconds."""

    words: str = "a duration such as `50ms`, `5s` or `1m`"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Leaf) or isinstance(tree.value, bool | None):
            return wrong_type(self, tree, site, log)
        text = tree.raw if not isinstance(tree.value, str) else tree.value
        seconds = amount(text, SECONDS)
        if seconds is None:
            wrong = f"{text} has no unit: write" if text.isdecimal() else f"{text!r} is not"
            log.spoil(site.path, tree.mark, "bad-unit", f"{wrong} {self.words}", nearest_amount(text))
        elif seconds <= 0:
            log.spoil(site.path, tree.mark, "wrong-value", f"{text} is no time at all")
        return seconds or INVALID

    def schema(self) -> Schema:
        return {"type": "string", "pattern": r"^[0-9]+(?:\.[0-9]+)?(?:us|ms|s|m|h|d)$"}


class Timeout(NamedTuple):
    """The name of a timeout, or a duration; which names there are is checked later."""

    words: str = "the name of a timeout, or a duration such as `50ms`"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Leaf) or isinstance(tree.value, bool | None):
            return wrong_type(self, tree, site, log)
        text = tree.value if isinstance(tree.value, str) else tree.raw
        return text if text[:1].isalpha() or Amount().read(tree, site, log) is not INVALID else INVALID

    def schema(self) -> Schema:
        return {"anyOf": [Amount().schema(), {"type": "string", "pattern": f"^{NAME}$"}]}


_UNIT_WORDS = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "msec": "ms", "msecs": "ms", "millis": "ms", "milliseconds": "ms", "hour": "h", "hours": "h", "hr": "h", "day": "d",
    "days": "d", "usec": "us", "µs": "us",
}  # fmt: skip


def nearest_amount(text: str) -> str | None:
    """Guess the duration meant by `50 ms`, `5sec` or `50MS`."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ]+)\s*", text)
    if match is None:
        return None
    unit = match[2].casefold()
    known = unit if unit in SECONDS else _UNIT_WORDS.get(unit)
    return None if known is None else f"{match[1]}{known}"
