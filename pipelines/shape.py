"""What a value of the pipeline file may look like: each shape reads a tree, says what is wrong with it, and
describes itself as JSON Schema and in words. Which key has which shape is said in `pipelines.spec`.

A library for this was measured and left: the first pydantic model alone costs more CPU than a whole lint may.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from pipelines.problem import Mark, Problem, Severity
from pipelines.suggest import nearest
from pipelines.tree import Leaf, Listing, Path, Table, Tree, plain, show_path
from pipelines.units import SECONDS, amount

__all__ = [
    "INVALID", "NAME", "RESERVED", "Amount", "Choice", "Exactly", "Flag", "Free", "FreeTable", "Invalid", "ListOf",
    "Log", "MapOf", "OneOrMany", "Schema", "Shape", "Site", "Text", "Timeout", "Whole", "kind_of", "name_problem",
    "unknown_key", "valid", "wrong_type",
]  # fmt: skip

Schema = dict[str, object]

NAME: Final = r"[a-z][a-z0-9_]*"

RESERVED: Final = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    ]
)
"""Words that cannot be an identifier in CEL (its specification, section Syntax)."""


class Invalid(enum.Enum):
    """What reading gives where nothing could be read; the problem is in the log."""

    INVALID = "invalid"


INVALID: Final = Invalid.INVALID


def valid(items: Iterable[str | Invalid]) -> tuple[str, ...]:
    """The items that could be read."""
    return tuple(item for item in items if not isinstance(item, Invalid))


@dataclass(frozen=True, slots=True)
class Site:
    """Where a value stands: its path, and the key it stands under."""

    path: Path
    key: Mark

    def below(self, part: str | int, key: Mark) -> Site:
        """The place of a member."""
        return Site((*self.path, part), key)


@dataclass(slots=True)
class Log:
    """Problems as they are found. Nothing is reported at or below a path whose own value is already wrong."""

    problems: list[Problem] = field(default_factory=list)
    spoiled: set[Path] = field(default_factory=set)
    meant: dict[Path, str] = field(default_factory=dict)
    """Misspelt keys, by the path that was meant: they are read as such, so that one slip makes one problem."""

    def spoil(self, path: Path, mark: Mark, code: str, message: str, suggestion: str | None = None) -> None:
        """Report a value that cannot be used, so that whatever follows from it goes unreported."""
        self.error(path, mark, code, message, suggestion)
        self.spoiled.add(path)

    def error(self, path: Path, mark: Mark, code: str, message: str, suggestion: str | None = None) -> None:
        """Report a mistake."""
        self._add(path, Problem(mark, code, show_path(path), message, suggestion))

    def warn(self, path: Path, mark: Mark, code: str, message: str, suggestion: str | None = None) -> None:
        """Report something that is allowed and probably not meant."""
        self._add(path, Problem(mark, code, show_path(path), message, suggestion, Severity.WARNING))

    def is_spoiled(self, path: Path) -> bool:
        """Whether the value at `path`, or one that holds it, could not be read."""
        return any(path[:length] in self.spoiled for length in range(len(path) + 1))

    def is_touched(self, path: Path) -> bool:
        """Whether the value at `path`, or anything in it, could not be read."""
        return self.is_spoiled(path) or any(spoiled[: len(path)] == path for spoiled in self.spoiled)

    def _add(self, path: Path, problem: Problem) -> None:
        if not self.is_spoiled(path):
            self.problems.append(problem)


class Shape(Protocol):
    """One kind of value."""

    @property
    def words(self) -> str:
        """The kind in words, for messages and `penstock explain`."""

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        """Give the value, or INVALID and say why in `log`."""

    def schema(self) -> Schema:
        """The same as JSON Schema."""


def kind_of(tree: Tree) -> str:
    """Name what stands there, as an operator would."""
    if not isinstance(tree, Leaf):
        return "a list" if isinstance(tree, Listing) else "a mapping"
    names = {type(None): "nothing", bool: "true or false", str: "text", int: "a number", float: "a number"}
    return names[type(tree.value)]


def wrong_type(shape: Shape, tree: Tree, site: Site, log: Log, more: str = "") -> Invalid:
    """Report a value of another kind."""
    # An empty value has no text of its own: its key is what can be pointed at.
    mark = site.key if isinstance(tree, Leaf) and tree.raw == "" else tree.mark
    log.spoil(site.path, mark, "wrong-type", f"{shape.words} is expected here, not {kind_of(tree)}{more}")
    return INVALID


@dataclass(frozen=True, slots=True)
class Text:
    """Any text, or text of one form."""

    words: str = "text"
    pattern: str | None = None
    known: tuple[str, ...] = ()
    """Values for an editor to offer; others are judged elsewhere."""

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Leaf) or not isinstance(tree.value, str):
            quote = f" (write '{tree.raw}' in quotes)" if isinstance(tree, Leaf) and tree.raw else ""
            return wrong_type(self, tree, site, log, quote)
        if self.pattern is not None and re.fullmatch(self.pattern, tree.value) is None:
            log.spoil(site.path, tree.mark, "wrong-value", f"{tree.value!r} is not {self.words}")
            return INVALID
        return tree.value

    def schema(self) -> Schema:
        text: Schema = {"type": "string"}
        text |= {} if self.pattern is None else {"pattern": f"^(?:{self.pattern})$"}
        return {"anyOf": [{"enum": list(self.known)}, text]} if self.known else text


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the values of an enum."""

    kind: type[enum.Enum]

    @property
    def words(self) -> str:
        return "one of " + ", ".join(str(member.value) for member in self.kind)

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Leaf) or not isinstance(tree.value, str):
            return wrong_type(self, tree, site, log)
        members = {str(member.value): member for member in self.kind}
        if tree.value not in members:
            message = f"{tree.value!r} is not {self.words}"
            log.spoil(site.path, tree.mark, "wrong-value", message, nearest(tree.value, members))
            return INVALID
        return members[tree.value]

    def schema(self) -> Schema:
        return {"enum": [member.value for member in self.kind]}


@dataclass(frozen=True, slots=True)
class Whole:
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


@dataclass(frozen=True, slots=True)
class Exactly:
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


@dataclass(frozen=True, slots=True)
class Flag:
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


@dataclass(frozen=True, slots=True)
class Amount:
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


@dataclass(frozen=True, slots=True)
class Timeout:
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


@dataclass(frozen=True, slots=True)
class Free:
    """Anything that JSON can say."""

    words: str = "any value"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        return plain(tree)

    def schema(self) -> Schema:
        return {}


@dataclass(frozen=True, slots=True)
class FreeTable:
    """A mapping whose content is checked by somebody else."""

    words: str = "a mapping"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        return plain(tree) if isinstance(tree, Table) else wrong_type(self, tree, site, log)

    def schema(self) -> Schema:
        return {"type": "object"}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of equal shapes."""

    item: Shape
    at_least: int = 0

    @property
    def words(self) -> str:
        return "a list"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Listing):
            return wrong_type(self, tree, site, log)
        if len(tree.items) < self.at_least:
            log.spoil(site.path, tree.mark, "wrong-value", "the list is empty")
            return INVALID
        values = [self.item.read(item, site.below(i, item.mark), log) for i, item in enumerate(tree.items)]
        return tuple(values)

    def schema(self) -> Schema:
        schema: Schema = {"type": "array", "items": self.item.schema()}
        return schema | {"minItems": self.at_least} if self.at_least else schema


@dataclass(frozen=True, slots=True)
class OneOrMany:
    """One value, or a list of them."""

    item: Shape

    @property
    def words(self) -> str:
        return f"{self.item.words}, or a list of them,"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if isinstance(tree, Leaf) and isinstance(tree.value, str):
            return (self.item.read(tree, site, log),)
        if not isinstance(tree, Listing):
            return wrong_type(self, tree, site, log)
        return ListOf(self.item, at_least=1).read(tree, site, log)

    def schema(self) -> Schema:
        return {"anyOf": [self.item.schema(), ListOf(self.item, at_least=1).schema()]}


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping from names that the operator chooses to equal shapes."""

    value: Shape
    named: bool = True

    @property
    def words(self) -> str:
        return "a mapping from names"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Table):
            return wrong_type(self, tree, site, log)
        values = {}
        for key, entry in tree.entries.items():
            below = site.below(key, entry.mark)
            wrong = name_problem(key) if self.named else None
            if wrong is not None:
                log.error(below.path, entry.mark, "bad-name", wrong, nearest_name(key))
            value = self.value.read(entry.value, below, log)
            if value is not INVALID:
                values[key] = value
        return values

    def schema(self) -> Schema:
        schema: Schema = {"type": "object", "additionalProperties": self.value.schema()}
        return schema | {"propertyNames": {"pattern": f"^{NAME}$"}} if self.named else schema


def name_problem(name: str) -> str | None:
    """Why `name` cannot be one, or None."""
    if re.fullmatch(NAME, name) is None:
        return f"{name!r} is not a name: small letters, digits and `_`, a letter first"
    if name in RESERVED:
        return f"{name!r} is a word of CEL and cannot be a name"
    return None


def nearest_name(name: str) -> str | None:
    """The name most like `name` that would be allowed."""
    folded = re.sub(r"[^a-z0-9_]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).casefold()).strip("_")
    return folded if name_problem(folded) is None else None


def unknown_key(key: str, known: Iterable[str], later: Mapping[str, str]) -> tuple[str, str, str | None]:
    """Code, message and suggestion for a key that is not in a table of keys."""
    if key in later:
        return "not-supported", f"this version of penstock does not build {later[key]} yet", None
    names = list(known)
    return "unknown-key", f"there is no key {key!r} here", nearest(key, names)
