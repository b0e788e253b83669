"""A document as values that remember their place and the layer that set them. No text is read here."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pipelines.problem import Mark

__all__ = [
    "Entry", "Found", "Leaf", "Listing", "Path", "Scalar", "Style", "Table", "Tree", "find", "plain", "relayer",
    "show_path",
]  # fmt: skip

Scalar = str | int | float | bool | None
Path = tuple[str | int, ...]


class Style(enum.Enum):
    """How a scalar is written; it decides where a character of the value stands in the text."""

    PLAIN = ""
    SINGLE = "'"
    DOUBLE = '"'
    LITERAL = "|"
    FOLDED = ">"


class Leaf(NamedTuple):
    """A scalar; `raw` is the text it was made from, quotes included."""

    value: Scalar
    mark: Mark
    layer: str
    style: Style = Style.PLAIN
    raw: str = ""


class Listing(NamedTuple):
    """A sequence."""

    items: tuple[Tree, ...]
    mark: Mark
    layer: str


class Entry(NamedTuple):
    """A key and its value; `mark` is the key's."""

    key: str
    mark: Mark
    value: Tree


class Table(NamedTuple):
    """A mapping, its entries in the order of the text."""

    entries: Mapping[str, Entry]
    mark: Mark
    layer: str

    def get(self, key: str) -> Tree | None:
        """The value under `key`, if there is one."""
        entry = self.entries.get(key)
        return None if entry is None else entry.value

    def tables(self) -> Iterator[tuple[str, Table]]:
        """Every entry whose value is itself a mapping."""
        for key, entry in self.entries.items():
            if isinstance(entry.value, Table):
                yield key, entry.value


Tree = Leaf | Listing | Table


def plain(tree: Tree) -> object:
    """The value without its places, as JSON has it."""
    if isinstance(tree, Leaf):
        return tree.value
    if isinstance(tree, Listing):
        return [plain(item) for item in tree.items]
    return {key: plain(entry.value) for key, entry in tree.entries.items()}


def relayer(tree: Tree, layer: str) -> Tree:
    """The same tree, said to come from `layer`."""
    if isinstance(tree, Leaf):
        return tree._replace(layer=layer)
    if isinstance(tree, Listing):
        return tree._replace(layer=layer, items=tuple(relayer(item, layer) for item in tree.items))
    entries = {key: entry._replace(value=relayer(entry.value, layer)) for key, entry in tree.entries.items()}
    return Table(entries, tree.mark, layer)


class Found(NamedTuple):
    """What stands at a path: as far as the path leads, the last key's mark and the value."""

    key: Mark
    value: Tree
    whole: bool


def find(root: Tree, path: Path) -> Found:
    """Follow `path`; where it leads out of the tree, what was reached last is given with `whole` False."""
    key, here = root.mark, root
    for part in path:
        if isinstance(here, Table) and part in here.entries:
            entry = here.entries[str(part)]
            key, here = entry.mark, entry.value
        elif isinstance(here, Listing) and isinstance(part, int) and part < len(here.items):
            here = here.items[part]
            key = here.mark
        else:
            return Found(key, here, whole=False)
    return Found(key, here, whole=True)


def show_path(path: Path) -> str:
    """`pipelines.guard.stages.pii.needs[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
