"""The file as it was read, on its way to a plan: what the checks look at and where they report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipelines.declaration import PluginDeclaration
from pipelines.expressions import Expression, ExpressionError
from pipelines.file.layers import Files
from pipelines.file.places import locate
from pipelines.file.reading import Log
from pipelines.file.spec import FileSpec
from pipelines.file.tree import Found, Leaf, Path, Table, Tree, find
from pipelines.problem import Mark, Problem

__all__ = ["BadPlugin", "Draft", "Plugins"]


class BadPlugin(Exception):
    """A source that is no plugin (`message`), or one whose manifest is wrong at places of its own (`problems`)."""

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        self.message, self.problems = message, problems
        super().__init__(message)


class Plugins(Protocol):
    """The manifests of the world, as the pure part sees them."""

    def declaration(self, source: str, beside: str) -> PluginDeclaration:
        """What the plugin at `source`, written in the file `beside`, says of itself. Raise BadPlugin."""


@dataclass(slots=True)
class Draft:
    """One file with one profile or none. `declarations` lacks the plugins that could not be read."""

    root: Table
    spec: FileSpec
    log: Log
    files: Files
    declarations: Mapping[str, PluginDeclaration] = field(default_factory=dict)
    compiled: dict[tuple[str, Path, str], Expression | ExpressionError] = field(default_factory=dict)
    """What came of each expression, by its hook, path and text; shared by profiles that change no name in it."""

    overridden: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Why the mode of a stage was changed by command, by its pipeline and name."""

    def tree(self, path: Path) -> Tree | None:
        """What is written at `path`."""
        found = self._find(path)
        return found.value if found.whole else None

    def value(self, path: Path) -> Mark:
        """Where the value at `path` stands; where there is none, the nearest key above."""
        found = self._find(path)
        return found.value.mark if found.whole else found.key

    def key(self, path: Path) -> Mark:
        """Where the key at `path` stands, or the nearest above."""
        return self._find(path).key

    def _find(self, path: Path) -> Found:
        """As `find`, but a key that was misspelt is found where it is."""
        meant = self.log.meant
        written = tuple(meant.get(path[: i + 1], part) for i, part in enumerate(path)) if meant else path
        return find(self.root, written)

    def inside(self, path: Path, offset: int) -> Mark:
        """Where a character of the text at `path` stands."""
        leaf = self.tree(path)
        return locate(leaf, offset) if isinstance(leaf, Leaf) else self.value(path)

    def names(self, path: Path) -> tuple[str, ...]:
        """The keys written at `path`, well-formed values or not."""
        table = self.tree(path)
        return tuple(table.entries) if isinstance(table, Table) else ()

    def error(self, path: Path, code: str, message: str, suggestion: str | None = None, at: Mark | None = None) -> None:
        """Report a mistake, at the value of `path` unless `at` says otherwise."""
        self.log.error(path, at or self.value(path), code, message, suggestion)

    def spoil(self, path: Path, code: str, message: str, suggestion: str | None = None) -> None:
        """Report a mistake from which others would follow."""
        self.log.spoil(path, self.value(path), code, message, suggestion)

    def warn(self, path: Path, code: str, message: str, suggestion: str | None = None, at: Mark | None = None) -> None:
        """Report what is allowed and probably not meant."""
        self.log.warn(path, at or self.value(path), code, message, suggestion)
