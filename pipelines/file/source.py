"""YAML text to a tree with places. Structure only: what the keys mean is read elsewhere.

Events of libyaml are read instead of its nodes: the limits hold while the text is read, and only what is
needed of YAML is let in (no tags, no merge keys, one document, text as keys).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn, Protocol

import yaml

from pipelines.file.scalars import BadNumber, resolve
from pipelines.file.syntax import bad_character, explain_error
from pipelines.file.tree import Entry, Leaf, Listing, Scalar, Style, Table, Tree, show_path
from pipelines.problem import Mark, Problem

__all__ = ["MAX_DEPTH", "MAX_FILE_BYTES", "MAX_VALUES", "parse"]

MAX_FILE_BYTES = 2**20
"""A pipeline file is written by people; a megabyte is a mistake or an attack."""

MAX_DEPTH = 64
"""Levels of nesting; deeper ones would exhaust whoever walks the tree."""

MAX_VALUES = 100_000
"""Values after aliases are followed: nine anchors of nine aliases each would make a billion."""

_STYLES = {"": Style.PLAIN, "'": Style.SINGLE, '"': Style.DOUBLE, "|": Style.LITERAL, ">": Style.FOLDED}


def parse(data: bytes, file: str, layer: str = "file") -> tuple[Tree | None, list[Problem]]:
    """Read one document; what is wrong with it comes second, and the tree is None when there is none to speak of."""
    if len(data) > MAX_FILE_BYTES:
        message = f"the file has {len(data)} bytes, at most {MAX_FILE_BYTES} are read"
        return None, [Problem(Mark(file), "too-large", "", message)]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return None, [_not_utf8(data, error, file)]
    if "\ufeff" in text:
        return None, [bad_character(text, file)]
    reader = _Reader(file, layer, text)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            reader.take(event)
    except yaml.YAMLError as error:
        return None, [*reader.problems, explain_error(error, text, file)]
    except _Stop:
        return None, reader.problems
    if reader.root is None:
        return None, [Problem(Mark(file), "empty", "", "the file is empty")]
    return reader.root, reader.problems


def _not_utf8(data: bytes, error: UnicodeDecodeError, file: str) -> Problem:
    before = data[: error.start].decode("utf-8-sig", "replace")
    mark = Mark(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
    return Problem(mark, "encoding", "", f"the file is not UTF-8 text: byte 0x{data[error.start]:02x}")


class _Place(Protocol):
    """A mark of either YAML implementation."""

    @property
    def index(self) -> int: ...


class _Stop(Exception):
    """The rest of the document is not worth reading."""


@dataclass(slots=True)
class _Open:
    """A mapping or sequence that has not ended yet."""

    mark: Mark
    anchor: str | None
    entries: dict[str, Entry] | None
    items: list[Tree] = field(default_factory=list)
    key: tuple[str, Mark] | None = None
    size: int = 1


class _Reader:
    def __init__(self, file: str, layer: str, text: str) -> None:
        self.file, self.layer, self.text = file, layer, text
        self.root: Tree | None = None
        self.problems: list[Problem] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Tree, int]] = {}

    def take(self, event: yaml.Event) -> None:
        """Go on with the next event of the parser."""
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event), event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            self._stop(event, "syntax", "a second document starts here; a pipeline file holds one")

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        mark = self._mark(event)
        self._refuse_tag(event, mark)
        if len(self._open) == MAX_DEPTH:
            self._stop(event, "too-large", f"nested deeper than {MAX_DEPTH} levels")
        if self._expects_key():
            self._stop(event, "wrong-type", "a key is text, not a mapping or a list")
        self._open.append(_Open(mark, event.anchor, {} if isinstance(event, yaml.MappingStartEvent) else None))

    def _end(self) -> None:
        done = self._open.pop()
        if done.entries is None:
            tree: Tree = Listing(tuple(done.items), done.mark, self.layer)
        else:
            tree = Table(done.entries, done.mark, self.layer)
        self._add(tree, done.anchor, done.size)

    def _alias(self, event: yaml.AliasEvent) -> None:
        found = self._anchors.get(event.anchor or "")
        if found is None:
            self._stop(
                event, "anchor", f"`*{event.anchor}` names no anchor that ends before it; quote the value if it is text"
            )
        if self._expects_key():
            self._stop(event, "anchor", "an alias cannot be a key")
        self._add(found[0], None, found[1], self._mark(event))

    def _scalar(self, event: yaml.ScalarEvent) -> Leaf:
        mark = self._mark(event)
        self._refuse_tag(event, mark)
        style = _STYLES[event.style or ""]
        value: Scalar = event.value
        if style is Style.PLAIN:
            try:
                value = resolve(event.value)
            except BadNumber as error:
                self._problem(mark, "bad-number", str(error))
        return Leaf(value, mark, self.layer, style, self.text[_index(event.start_mark) : _index(event.end_mark)])

    def _add(self, tree: Tree, anchor: str | None, size: int, at: Mark | None = None) -> None:
        if anchor is not None:
            self._anchors[anchor] = (tree, size)
        if not self._open:
            self.root = tree
            return
        parent = self._open[-1]
        parent.size += size
        if parent.size > MAX_VALUES:
            self._problem(at or tree.mark, "too-large", f"more than {MAX_VALUES} values, aliases followed")
            raise _Stop
        if parent.entries is None:
            parent.items.append(tree)
        elif parent.key is None:
            parent.key = self._key(tree), tree.mark
        else:
            self._put(parent.entries, *parent.key, tree)
            parent.key = None

    def _put(self, entries: dict[str, Entry], key: str, mark: Mark, value: Tree) -> None:
        earlier = entries.get(key)
        if key == "<<":
            self._problem(mark, "merge-key", "merge keys are not allowed: write the keys out")
        elif earlier is not None:
            self._problem(mark, "duplicate-key", f"is written twice, first in line {earlier.mark.line}")
        else:
            entries[key] = Entry(key, mark, value)

    def _key(self, tree: Tree) -> str:
        """The text of a key; one that YAML reads as something else (`1`, `true`, `~`) is named and kept as written."""
        assert isinstance(tree, Leaf)
        if isinstance(tree.value, str):
            return tree.value
        self._problem(tree.mark, "wrong-type", f"a key is text: write '{tree.raw}' in quotes")
        return tree.raw

    def _expects_key(self) -> bool:
        return bool(self._open) and self._open[-1].entries is not None and self._open[-1].key is None

    def _refuse_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, mark: Mark) -> None:
        if event.tag is None:
            return
        if self.text.startswith("!!", _index(event.start_mark)) or event.tag.startswith("tag:"):
            self._problem(mark, "tag", "tags are not allowed: the value says what it is")
        else:
            self._problem(mark, "unquoted", "quote a value that starts with `!`, YAML takes it for a tag")

    def _path(self) -> str:
        """Where the reader stands, for problems found before there is a tree."""
        path: list[str | int] = []
        for level in self._open:
            if level.entries is None:
                path.append(len(level.items))
            elif level.key is not None:
                path.append(level.key[0])
        return show_path(tuple(path))

    def _problem(self, mark: Mark, code: str, message: str) -> None:
        self.problems.append(Problem(mark, code, self._path(), message))

    def _stop(self, event: yaml.Event, code: str, message: str) -> NoReturn:
        self._problem(self._mark(event), code, message)
        raise _Stop

    def _mark(self, event: yaml.Event) -> Mark:
        mark = event.start_mark
        assert mark is not None
        return Mark(self.file, mark.line + 1, mark.column + 1)


def _index(mark: _Place | None) -> int:
    """libyaml counts characters, not bytes."""
    assert mark is not None
    return mark.index
