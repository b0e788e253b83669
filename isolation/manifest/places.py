"""Where each key and value of a TOML text stands. Reads only text that `tomllib` has already accepted.

`tomllib` keeps no positions, so this walks the text once more and notes the offset of every key and value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Place", "TomlPlaces"]

Key = str | int
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^\s,\]}#][^,\]}#\n]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''[\s\S]*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_CONTROL = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\", "e": "\x1b"}


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a text, both counted from 1."""

    line: int
    column: int


class TomlPlaces:
    """The places of one text, asked for by path: `("tool", "penstock", "stages")`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._keys: dict[tuple[Key, ...], int] = {}
        self._values: dict[tuple[Key, ...], int] = {}
        self._arrays: dict[tuple[Key, ...], int] = {}
        self._document()

    def key(self, path: tuple[Key, ...]) -> Place:
        """Tell where the key of `path` stands, or its nearest parent that is written down."""
        return self._find(path, self._keys)

    def value(self, path: tuple[Key, ...]) -> Place:
        """Tell where the value of `path` begins, or the key of its nearest parent."""
        offset = self._values.get(path)
        return self.key(path) if offset is None else self._place(offset)

    def _find(self, path: tuple[Key, ...], table: dict[tuple[Key, ...], int]) -> Place:
        for length in range(len(path), 0, -1):
            offset = table.get(path[:length], self._values.get(path[:length]))
            if offset is not None:
                return self._place(offset)
        return Place(1, 1)

    def _place(self, offset: int) -> Place:
        start = self._text.rfind("\n", 0, offset) + 1
        return Place(self._text.count("\n", 0, offset) + 1, offset - start + 1)

    def _document(self) -> None:
        table: tuple[Key, ...] = ()
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> tuple[Key, ...]:
        array = self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        path = self._dotted(())
        self._at += 2 if array else 1
        if array:
            count = self._arrays.get(path, 0)
            self._arrays[path] = count + 1
            path = (*path, count)
        return path

    def _pair(self, table: tuple[Key, ...]) -> None:
        path = self._dotted(table)
        self._at += 1
        self._skip(_SPACE)
        self._value(path)

    def _dotted(self, table: tuple[Key, ...]) -> tuple[Key, ...]:
        """Read `a."b".c` below `table`; a path through an array of tables means its latest element."""
        path = table
        while True:
            self._skip(_SPACE)
            start = self._at
            path = (*path, self._name())
            self._keys.setdefault(path, start)
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return path
            self._at += 1
            if path in self._arrays:
                path = (*path, self._arrays[path] - 1)

    def _name(self) -> str:
        match = _BARE.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
            return match[0]
        start = self._at
        self._skip(_STRING)
        quoted = self._text[start : self._at]
        return _ESCAPE.sub(_unescape, quoted[1:-1]) if quoted[0] == '"' else quoted[1:-1]

    def _value(self, path: tuple[Key, ...]) -> None:
        self._values[path] = self._at
        first = self._text[self._at]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline(path)
        elif first in "\"'":
            self._skip(_STRING)
        else:
            self._skip(_SCALAR)

    def _array(self, path: tuple[Key, ...]) -> None:
        self._at += 1
        index = 0
        while self._more("]"):
            self._value((*path, index))
            index += 1

    def _inline(self, path: tuple[Key, ...]) -> None:
        self._at += 1
        while self._more("}"):
            self._pair(path)

    def _more(self, end: str) -> bool:
        self._skip(_BLANK)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_BLANK)
        if self._text[self._at] != end:
            return True
        self._at += 1
        return False

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] in "uU" else _CONTROL.get(code, code)
