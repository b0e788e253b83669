"""Shapes of lists and mappings whose keys the operator chooses, and of values that somebody else judges."""

from __future__ import annotations

from typing import NamedTuple

from pipelines.file.names import NAME, name_problem, nearest_name
from pipelines.file.reading import INVALID, Log, Schema, Shape, Site, wrong_type
from pipelines.file.tree import Leaf, Listing, Table, Tree, plain

__all__ = ["Free", "FreeTable", "ListOf", "MapOf", "OneOrMany"]


class Free(NamedTuple):
    """Anything that JSON can say."""

    words: str = "any value"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        return plain(tree)

    def schema(self) -> Schema:
        return {}


class FreeTable(NamedTuple):
    """A mapping whose content is checked by somebody else."""

    words: str = "a mapping"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        return plain(tree) if isinstance(tree, Table) else wrong_type(self, tree, site, log)

    def schema(self) -> Schema:
        return {"type": "object"}


class ListOf(NamedTuple):
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


class OneOrMany(NamedTuple):
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


class MapOf(NamedTuple):
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
