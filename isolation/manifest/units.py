"""Durations and sizes as a manifest writes them: `"250ms"`, `"256MiB"`. Nothing else is a unit here."""

from __future__ import annotations

import re
from decimal import Decimal
from types import MappingProxyType

__all__ = ["parse_bytes", "parse_seconds"]

_SECONDS = MappingProxyType({"us": "0.000001", "ms": "0.001", "s": "1", "m": "60", "h": "3600"})
_BYTES = MappingProxyType(
    {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
)
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]+)")


def parse_seconds(text: str) -> float:
    """Read a duration such as `50ms` as seconds. Raise ValueError saying what would be right."""
    number, unit = _split(text, "a duration", "5s")
    if unit not in _SECONDS:
        raise ValueError(f"'{unit}' is no unit of time; one of {', '.join(_SECONDS)}")
    return float(Decimal(number) * Decimal(_SECONDS[unit]))


def parse_bytes(text: str) -> int:
    """Read a size such as `256MiB` as bytes. Raise ValueError saying what would be right."""
    number, unit = _split(text, "a size", "256MiB")
    if unit not in _BYTES:
        raise ValueError(f"'{unit}' is no unit of size; one of {', '.join(_BYTES)}")
    return int(Decimal(number) * _BYTES[unit])


def _split(text: str, what: str, example: str) -> tuple[str, str]:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not {what} with its unit; write it like '{example}'")
    return match[1], match[2]
