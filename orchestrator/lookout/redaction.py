"""What may be shown of a payload: its structure with keys, kinds and lengths; the values only where somebody says so.

Pure, and bounded: however large a value is, what is shown of it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

__all__ = ["MAX_PARTS", "redacted", "shortened"]

MAX_PARTS = 500
"""Members and elements that are shown of one value, at all depths together."""
MAX_MEMBERS = 64
MAX_ELEMENTS = 16
MAX_DEPTH = 10
KEY_CHARACTERS = 64
VALUE_CHARACTERS = 200
REST = "…"
"""Stands as a key, or in front, where something was left out."""


def redacted(value: object) -> object:
    """The value with `text(12)`, `number`, `boolean` and `null` in the places of what it holds. Keys stay."""
    return _Shown(_kind).part(value, 0)


def shortened(value: object) -> object:
    """The value itself; of long texts the beginning, and of many elements the first."""
    return _Shown(_beginning).part(value, 0)


def _kind(value: object) -> object:
    if isinstance(value, str):
        return f"text({len(value)})"
    if isinstance(value, bool):
        return "boolean"
    return "null" if value is None else "number"


def _beginning(value: object) -> object:
    if isinstance(value, str) and len(value) > VALUE_CHARACTERS:
        return f"{value[:VALUE_CHARACTERS]}{REST} ({len(value)} characters)"
    return value


class _Shown:
    """One value on its way; counts what is shown of it."""

    def __init__(self, leaf: Callable[[object], object]) -> None:
        self._leaf = leaf
        self._left = MAX_PARTS

    def part(self, value: object, depth: int) -> object:
        if isinstance(value, Mapping):
            return self._members(value, depth)
        if isinstance(value, list | tuple):
            return self._elements(value, depth)
        return self._leaf(value)

    def _members(self, value: Mapping[str, object], depth: int) -> object:
        if depth >= MAX_DEPTH:
            return f"object({len(value)})"
        shown: dict[str, object] = {}
        for key, member in value.items():
            if len(shown) >= MAX_MEMBERS or self._left <= 0:
                shown[REST] = f"{len(value) - len(shown)} more"
                break
            self._left -= 1
            shown[key if len(key) <= KEY_CHARACTERS else key[:KEY_CHARACTERS] + REST] = self.part(member, depth + 1)
        return shown

    def _elements(self, value: Sequence[object], depth: int) -> object:
        if depth >= MAX_DEPTH:
            return f"list({len(value)})"
        shown: list[object] = []
        for element in value:
            if len(shown) >= MAX_ELEMENTS or self._left <= 0:
                shown.append(f"{REST} {len(value) - len(shown)} more")
                break
            self._left -= 1
            shown.append(self.part(element, depth + 1))
        return shown
