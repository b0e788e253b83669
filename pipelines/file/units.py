"""Amounts with a unit, as an operator writes them: `50ms`, `1m`, `16MiB`. A bare number is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["BYTES", "SECONDS", "amount", "show_seconds"]

SECONDS: Mapping[str, float] = MappingProxyType(
    {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
)
BYTES: Mapping[str, float] = MappingProxyType(
    {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
)

_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]+)", re.ASCII)


def amount(text: str, units: Mapping[str, float]) -> float | None:
    """What `text` comes to in the base unit of `units`, or None where it is not an amount in one of them."""
    match = _AMOUNT.fullmatch(text)
    if match is None or match[2] not in units:
        return None
    return float(match[1]) * units[match[2]]


def show_seconds(seconds: float) -> str:
    """Write a duration back with the largest unit that keeps it whole: 0.05 is `50ms`."""
    for unit in ("d", "h", "m", "s", "ms"):
        count = seconds / SECONDS[unit]
        if count >= 1 and abs(count - round(count)) < 1e-9:
            return f"{round(count)}{unit}"
    return f"{seconds * 1e6:g}us"
