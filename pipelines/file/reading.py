"""How a value is read from a tree: what a shape is, where a value stands, and the log of what is wrong."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from pipelines.file.tree import Leaf, Listing, Path, Tree, show_path
from pipelines.problem import Mark, Problem, Severity

__all__ = ["INVALID", "Invalid", "Log", "Schema", "Shape", "Site", "kind_of", "valid", "wrong_type"]

Schema = dict[str, object]


class Invalid(enum.Enum):
    """What reading gives where nothing could be read; the problem is in the log."""

    INVALID = "invalid"


INVALID: Final = Invalid.INVALID


def valid(items: Iterable[str | Invalid]) -> tuple[str, ...]:
    """The items that could be read."""
    return tuple(item for item in items if not isinstance(item, Invalid))


class Site(NamedTuple):
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
