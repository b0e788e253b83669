"""Where a character of a YAML scalar stands in the text: an error inside an expression is shown where it was typed."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.file.tree import Leaf, Style
from pipelines.problem import Mark

__all__ = ["locate"]

_ESCAPES = {"x": 2, "u": 4, "U": 8}
"""Hexadecimal digits after `\\x`, `\\u` and `\\U`; every other escape is one character."""


def locate(leaf: Leaf, offset: int) -> Mark:
    """The place of character `offset` (from 0) of the leaf's text. One past the end is the end."""
    position = 0
    starts = list(_STARTS[leaf.style](leaf.raw))
    if starts:
        position = starts[offset] if offset < len(starts) else starts[-1] + 1
    before = leaf.raw[:position]
    lines = before.count("\n")
    if not lines:
        return Mark(leaf.mark.file, leaf.mark.line, leaf.mark.column + position)
    return Mark(leaf.mark.file, leaf.mark.line + lines, position - before.rfind("\n"))


def _plain(raw: str) -> Iterator[int]:
    """A line break and the indentation around it are one space; each further break is a line feed."""
    index = 0
    while index < len(raw):
        end = _fold_end(raw, index)
        if end is None:
            yield index
            index += 1
        else:
            yield from [index] * max(1, raw.count("\n", index, end) - 1)
            index = end


def _fold_end(raw: str, index: int) -> int | None:
    """Where the white space around a line break ends, if one starts at `index`."""
    end = index
    while end < len(raw) and raw[end] in " \t\r\n":
        end += 1
    return end if "\n" in raw[index:end] else None


def _single(raw: str) -> Iterator[int]:
    """As plain text, but two quotes are one."""
    index, last = 1, len(raw) - 1
    while index < last:
        fold = _fold_end(raw[:last], index)
        if fold is not None:
            yield from [index] * max(1, raw.count("\n", index, fold) - 1)
            index = fold
        else:
            yield index
            index += 2 if raw.startswith("''", index) else 1


def _double(raw: str) -> Iterator[int]:
    index, last = 1, len(raw) - 1
    while index < last:
        fold = _fold_end(raw, index)
        if raw[index] == "\\":
            follower = raw[index + 1 : index + 2]
            if follower in "\r\n":
                index = _fold_end(raw, index + 1) or last
                continue
            yield index
            index += 2 + _ESCAPES.get(follower, 0)
        elif fold is not None:
            yield from [index] * max(1, raw.count("\n", index, fold) - 1)
            index = fold
        else:
            yield index
            index += 1


def _block(raw: str) -> Iterator[int]:
    """Literal and folded alike: a break counts as one character, the indentation of the first line as none."""
    index = raw.find("\n") + 1
    body = raw[index:]
    first = next((line for line in body.split("\n") if line.strip()), "")
    indent = len(first) - len(first.lstrip(" "))
    for line in body.splitlines(keepends=True):
        text = line.rstrip("\r\n")
        for column in range(indent, len(text)):
            yield index + column
        yield index + max(len(text), 0)
        index += len(line)


_STARTS = {
    Style.PLAIN: _plain,
    Style.SINGLE: _single,
    Style.DOUBLE: _double,
    Style.LITERAL: _block,
    Style.FOLDED: _block,
}
