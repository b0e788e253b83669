"""Reads one TOML table key by key. What is wrong is noted in the sheet; what nobody asked for is an unknown key.

A library for this was measured and left: its first model costs more CPU than reading all manifests of a pipeline.
After a mistake the default stands in; whoever reads refuses the whole manifest in the end.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeVar

from isolation.manifest.sheet import Sheet, nearest

__all__ = ["TableReader", "what"]

Judge = Callable[[str], None]
KeyPath = tuple[str | int, ...]
EnumT = TypeVar("EnumT", bound=enum.Enum)
NumberT = TypeVar("NumberT", int, float)


class TableReader:
    """One table at `path`. The methods take a key and say what its value must be."""

    def __init__(self, sheet: Sheet, path: KeyPath, table: Mapping[str, object]) -> None:
        self.path = path
        self._sheet = sheet
        self._table = table
        self._asked: list[str] = []

    def text(self, key: str, default: str, judge: Judge | None = None) -> str:
        """Read a string that is not empty and that `judge` does not refuse with ValueError."""
        given = self._take(key)
        return default if given is None or not self._is_text((*self.path, key), given, judge) else str(given)

    def maybe_text(self, key: str, judge: Judge | None = None) -> str | None:
        """Read a string that may be left out."""
        return self.text(key, "", judge) or None

    def flag(self, key: str, default: bool) -> bool:
        """Read true or false."""
        given = self._take(key)
        if given is not None and not isinstance(given, bool):
            self._wrong(key, f"must be true or false, not {what(given)}")
        return given if isinstance(given, bool) else default

    def count(self, key: str) -> int | None:
        """Read a number of things, at least one."""
        given = self._take(key)
        if given is None:
            return None
        if not isinstance(given, int) or isinstance(given, bool):
            self._wrong(key, f"must be an integer, not {what(given)}")
            return None
        if given < 1:
            self._wrong(key, f"must be at least 1, not {given}")
        return given

    def choice(self, key: str, default: EnumT) -> EnumT:
        """Read the value of one member of the enum that `default` belongs to."""
        given = self._take(key)
        members = {str(member.value): member for member in type(default)}
        if given is None or not self._is_one_of((*self.path, key), given, members):
            return default
        return members[str(given)]

    def quantity(self, key: str, parse: Callable[[str], NumberT], example: str) -> NumberT | None:
        """Read a string that `parse` understands, such as a duration, more than nothing."""
        given = self._take(key)
        if given is None:
            return None
        if not isinstance(given, str):
            self._wrong(key, f"write a string with its unit, like '{example}', not {what(given)}")
            return None
        try:
            amount = parse(given)
        except ValueError as error:
            self._wrong(key, str(error))
            return None
        if amount <= 0:
            self._wrong(key, f"must be more than nothing, not '{given}'")
        return amount

    def texts(self, key: str, judge: Judge | None = None) -> tuple[str, ...]:
        """Read a list of strings; none where it is left out."""
        return self.maybe_texts(key, judge) or ()

    def maybe_texts(self, key: str, judge: Judge | None = None) -> tuple[str, ...] | None:
        """Read a list of strings that may be left out."""
        given = self._take(key)
        if given is None:
            return None
        if not isinstance(given, list):
            self._wrong(key, f"must be a list, not {what(given)}")
            return None
        fine = [self._is_text((*self.path, key, index), entry, judge) for index, entry in enumerate(given)]
        return tuple(str(entry) for entry, is_fine in zip(given, fine, strict=True) if is_fine)

    def named_texts(
        self, key: str, judge: Judge, choices: Mapping[str, str] | None = None, known: Collection[str] = ()
    ) -> dict[str, str]:
        """Read a table of strings, each one of `known` if that is given; `choices` maps slips to what was meant."""
        found = {}
        for name, given in self._entries(key, judge):
            path = (*self.path, key, name)
            fine = self._is_one_of(path, given, known, choices) if known else self._is_text(path, given, None, True)
            if fine:
                found[name] = str(given)
        return found

    def table(self, key: str) -> TableReader:
        """Read a table; an empty one where it is left out."""
        given = self._take(key)
        if given is not None and not isinstance(given, dict):
            self._wrong(key, f"must be a table, not {what(given)}")
        return TableReader(self._sheet, (*self.path, key), given if isinstance(given, dict) else {})

    def tables(self, key: str, judge: Judge | None = None) -> Iterator[tuple[str, TableReader]]:
        """Read a table of tables, whose names `judge` may refuse."""
        for name, given in self._entries(key, judge):
            path = (*self.path, key, name)
            if isinstance(given, dict):
                yield name, TableReader(self._sheet, path, given)
            else:
                self._sheet.blame_value(path, f"must be a table, not {what(given)}")

    def raw(self, key: str) -> object:
        """Take a value as it is, for somebody else to judge."""
        return self._take(key)

    def refuse(self, key: str, message: str, suggestion: str | None = None) -> None:
        """Note a mistake at a value."""
        self._wrong(key, message, suggestion)

    def require(self, key: str) -> None:
        """Note the mistake of leaving out what must be there."""
        self._sheet.blame_key((*self.path, key), "is required")

    def done(self) -> None:
        """Note every key that nobody has asked for."""
        for key in self._table:
            if key not in self._asked:
                self._sheet.blame_key((*self.path, key), "unknown key", nearest(key, self._asked))

    def _take(self, key: str) -> object:
        self._asked.append(key)
        return self._table.get(key)

    def _entries(self, key: str, judge: Judge | None) -> list[tuple[str, object]]:
        given = self._take(key)
        if given is not None and not isinstance(given, dict):
            self._wrong(key, f"must be a table, not {what(given)}")
        entries = list(given.items()) if isinstance(given, dict) else []
        for name, _ in entries:
            try:
                if judge is not None:
                    judge(name)
            except ValueError as error:
                self._sheet.blame_key((*self.path, key, name), str(error))
        return entries

    def _is_text(self, path: KeyPath, given: object, judge: Judge | None, may_be_empty: bool = False) -> bool:
        if not isinstance(given, str):
            self._sheet.blame_value(path, f"must be a string, not {what(given)}")
            return False
        try:
            if not given and not may_be_empty:
                raise ValueError("must not be empty")
            if judge is not None:
                judge(given)
        except ValueError as error:
            self._sheet.blame_value(path, str(error))
            return False
        return True

    def _is_one_of(
        self, path: KeyPath, given: object, known: Collection[str], slips: Mapping[str, str] | None = None
    ) -> bool:
        if isinstance(given, str) and given in known:
            return True
        near = (slips or {}).get(str(given)) or nearest(str(given), known)
        self._sheet.blame_value(path, f"must be one of {', '.join(known)}, not {what(given)}", near)
        return False

    def _wrong(self, key: str, message: str, suggestion: str | None = None) -> None:
        self._sheet.blame_value((*self.path, key), message, suggestion)


def what(value: object) -> str:
    """Say what was given instead."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return repr(value)
