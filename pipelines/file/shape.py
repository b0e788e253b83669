"""Shapes of single values: each reads a tree, says what is wrong with it, and describes itself in words and as JSON
Schema. Which key has which shape is said in `pipelines.file.spec`.

A library for this was measured and left: the first pydantic model alone costs more CPU than a whole lint may.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from pipelines.file.reading import INVALID, Log, Schema, Site, wrong_type
from pipelines.file.tree import Leaf, Tree
from pipelines.suggest import nearest

__all__ = ["Choice", "Exactly", "Flag", "Number", "Text", "Whole"]

_NONE: Mapping[str, str] = MappingProxyType({})


class Text(NamedTuple):
    """Any text, or text of one form."""

    words: str = "text"
    pattern: str | None = None
    may_be_empty: bool = False
    known: tuple[str, ...] = ()
    """Values for an editor to offer; others are judged elsewhere."""

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Leaf) or not isinstance(tree.value, str):
            quote = f" (write '{tree.raw}' in quotes)" if isinstance(tree, Leaf) and tree.raw else ""
            return wrong_type(self, tree, site, log, quote)
        if not tree.value and not self.may_be_empty:
            log.spoil(site.path, tree.mark, "wrong-value", f"{self.words} is expected here, and this is empty")
            return INVALID
        if self.pattern is not None and re.fullmatch(self.pattern, tree.value) is None:
            log.spoil(site.path, tree.mark, "wrong-value", f"{tree.value!r} is not {self.words}")
            return INVALID
        return tree.value

    def schema(self) -> Schema:
        text: Schema = {"type": "string"}
        text |= {} if self.pattern is None else {"pattern": f"^(?:{self.pattern})$"}
        return {"anyOf": [{"enum": list(self.known)}, text]} if self.known else text


class Choice(NamedTuple):
    """One of the values of an enum."""

    kind: type[enum.Enum]
    refused: Mapping[str, str] = _NONE
    """Values that somebody may well expect here, and why they are none."""

    @property
    def words(self) -> str:
        return "one of " + ", ".join(str(member.value) for member in self.kind)

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Leaf) or not isinstance(tree.value, str):
            return wrong_type(self, tree, site, log)
        members = {str(member.value): member for member in self.kind}
        if tree.value in self.refused:
            log.spoil(site.path, tree.mark, "wrong-value", self.refused[tree.value])
            return INVALID
        if tree.value not in members:
            message = f"{tree.value!r} is not {self.words}"
            log.spoil(site.path, tree.mark, "wrong-value", message, nearest(tree.value, members))
            return INVALID
        return members[tree.value]

    def schema(self) -> Schema:
        return {"enum": [member.value for member in self.kind]}


class Whole(NamedTuple):
    """A whole number within bounds."""

    low: int
    high: int

    @property
    def words(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Leaf) or type(tree.value) is not int:
            return wrong_type(self, tree, site, log)
        if not self.low <= tree.value <= self.high:
            log.spoil(site.path, tree.mark, "wrong-value", f"{tree.value} is not {self.words}")
            return INVALID
        return tree.value

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


class Number(NamedTuple):
    """A number within bounds, `high` included; `low` too, unless it is left out by `above`."""

    low: float
    high: float
    above: bool = False

    @property
    def words(self) -> str:
        return f"a number {'above' if self.above else 'from'} {self.low:g} {'and up ' * self.above}to {self.high:g}"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Leaf) or isinstance(tree.value, bool) or not isinstance(tree.value, int | float):
            return wrong_type(self, tree, site, log)
        value = tree.value
        if not self.low <= value <= self.high or (self.above and value == self.low):
            log.spoil(site.path, tree.mark, "wrong-value", f"{tree.raw} is not {self.words}")
            return INVALID
        return float(value)

    def schema(self) -> Schema:
        return {"type": "number", "exclusiveMinimum" if self.above else "minimum": self.low, "maximum": self.high}


class Exactly(NamedTuple):
    """One number and no other."""

    value: int

    @property
    def words(self) -> str:
        return str(self.value)

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Leaf) or type(tree.value) is not int:
            return wrong_type(self, tree, site, log)
        if tree.value != self.value:
            log.spoil(site.path, tree.mark, "wrong-value", f"{tree.value} is not known here, only {self.value} is")
            return INVALID
        return tree.value

    def schema(self) -> Schema:
        return {"const": self.value}


class Flag(NamedTuple):
    """true or false."""

    words: str = "true or false"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Leaf) or not isinstance(tree.value, bool):
            guess = {"on": "true", "yes": "true", "off": "false", "no": "false"}
            value = tree.value if isinstance(tree, Leaf) else None
            if isinstance(value, str) and value.casefold() in guess:
                log.spoil(
                    site.path,
                    tree.mark,
                    "wrong-type",
                    f"{self.words} is expected here, not text",
                    guess[value.casefold()],
                )
                return INVALID
            return wrong_type(self, tree, site, log)
        return tree.value

    def schema(self) -> Schema:
        return {"type": "boolean"}
