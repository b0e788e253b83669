"""Members of what a host answered: JSON of another program, so that what is not there, or of another kind, is empty."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Record", "members", "number", "records", "text"]

Record = Mapping[str, object]


def records(record: Record, name: str) -> list[Record]:
    """The objects of a list."""
    found = record.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list | tuple) else []


def members(record: Record, name: str) -> Record:
    """An object; empty where there is none."""
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def text(record: Record, name: str) -> str:
    """A member as a text; "" where there is none."""
    found = record.get(name)
    return "" if found is None else str(found)


def number(record: Record, name: str) -> float:
    """A number; 0 where there is none."""
    found = record.get(name)
    return float(found) if isinstance(found, int | float) else 0.0
