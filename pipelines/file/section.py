"""A mapping with fixed keys, written as a class: its attributes are the keys, each with shape and documentation.

Like a frozen dataclass, but sixteen of those would take a tenth of the CPU of a whole lint to be made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, NamedTuple, NoReturn

from pipelines.file.names import NAME
from pipelines.file.reading import INVALID, Log, Schema, Shape, Site, wrong_type
from pipelines.file.tree import Leaf, Table, Tree, plain
from pipelines.suggest import nearest

__all__ = ["NONE", "Key", "Overlay", "OwnOrNone", "Policy", "Record", "Section", "Short", "key", "keys_of"]

NONE: Final = "none"
"""What an operator writes where something is meant not to be: no retry, no breaker, no compensation."""


class Key:
    """What is known of one key; read from a section that lacks it, the default."""

    __slots__ = ("attribute", "default", "doc", "name", "required", "shape")

    def __init__(self, shape: Shape, doc: str, default: object, required: bool) -> None:
        self.shape, self.doc, self.default, self.required = shape, doc, default, required

    def __set_name__(self, owner: type, attribute: str) -> None:
        # `with_` is the attribute of `with`, a word of Python.
        self.attribute, self.name = attribute, attribute.rstrip("_")

    def __get__(self, section: object, owner: type) -> object:
        return self if section is None else self.default


class Section:
    """Base of every section. `LATER` has the keys of the language that are not built yet, and what they are."""

    LATER: ClassVar[Mapping[str, str]] = {}
    KEYS: ClassVar[Mapping[str, Key]] = {}

    def __init_subclass__(cls) -> None:
        cls.KEYS = {member.name: member for member in vars(cls).values() if isinstance(member, Key)}

    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is read once and not changed")


def key(shape: Shape, doc: str, *, default: object = None, required: bool = False) -> Any:
    """Declare a key; Any, as `dataclasses.field` has it, because the annotation gives the type."""
    return Key(shape, doc, default, required)


def keys_of(section: type[Section]) -> Mapping[str, Key]:
    """The keys of a section by their name in the file."""
    return section.KEYS


class Record(NamedTuple):
    """The shape of a section."""

    section: type[Section]

    @property
    def words(self) -> str:
        return "a mapping with the keys " + ", ".join(keys_of(self.section))

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Table):
            return wrong_type(self, tree, site, log)
        known = keys_of(self.section)
        values: dict[str, object] = {}
        for name, entry in tree.entries.items():
            below = site.below(name, entry.mark)
            meant = name if name in known else self._misspelt(name, below, tree, log)
            if meant is not None:
                value = known[meant].shape.read(entry.value, below, log)
                values |= {} if value is INVALID else {known[meant].attribute: value}
        self._demand(tree, site, log)
        return self.section(**values)

    def _misspelt(self, name: str, site: Site, tree: Table, log: Log) -> str | None:
        """Report a key that is not known; where a known one is meant and free, the value is read as that."""
        code, message, suggestion = unknown_key(name, keys_of(self.section), self.section.LATER)
        log.error(site.path, site.key, code, message, suggestion)
        if suggestion is None or suggestion in tree.entries:
            return None
        log.meant[(*site.path[:-1], suggestion)] = name
        return suggestion

    def _demand(self, tree: Table, site: Site, log: Log) -> None:
        known = keys_of(self.section)
        meant = {unknown_key(name, known, self.section.LATER)[2] for name in tree.entries if name not in known}
        for name, about in known.items():
            if about.required and name not in tree.entries and name not in meant:
                log.error((*site.path, name), site.key, "missing-key", f"the key {name!r} is missing")

    def schema(self) -> Schema:
        known = keys_of(self.section).values()
        properties = {k.name: {"description": k.doc, **k.shape.schema()} for k in known}
        schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        required = [k.name for k in known if k.required]
        return schema | {"required": required} if required else schema


class Short(NamedTuple):
    """A section that may be written as the value of one of its keys: `a` for `{stage: a}`."""

    section: type[Section]
    name: str

    @property
    def words(self) -> str:
        return f"{keys_of(self.section)[self.name].shape.words}, or {Record(self.section).words},"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if isinstance(tree, Table):
            return Record(self.section).read(tree, site, log)
        value = keys_of(self.section)[self.name].shape.read(tree, site, log)
        return INVALID if value is INVALID else self.section(**{self.name: value})

    def schema(self) -> Schema:
        return {"anyOf": [keys_of(self.section)[self.name].shape.schema(), Record(self.section).schema()]}


class Policy(NamedTuple):
    """The name of a policy, or the policy itself, written in place. Which names there are is checked later."""

    section: type[Section]
    name: str
    may_be_none: bool = True

    @property
    def words(self) -> str:
        none = f", {NONE}" if self.may_be_none else ""
        return f"the name of a {self.name}{none}, or {Record(self.section).words},"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if isinstance(tree, Table):
            return Record(self.section).read(tree, site, log)
        if isinstance(tree, Leaf) and isinstance(tree.value, str) and tree.value:
            return tree.value
        return _not_none(self, tree, site, log) if self.may_be_none else wrong_type(self, tree, site, log)

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "string", "pattern": f"^{NAME}$"}, Record(self.section).schema()]}


class OwnOrNone(NamedTuple):
    """A section, or the word that says openly that there is none."""

    section: type[Section]

    @property
    def words(self) -> str:
        return f"{NONE}, or {Record(self.section).words},"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if isinstance(tree, Table):
            return Record(self.section).read(tree, site, log)
        return NONE if isinstance(tree, Leaf) and tree.value == NONE else _not_none(self, tree, site, log)

    def schema(self) -> Schema:
        return {"anyOf": [{"const": NONE}, Record(self.section).schema()]}


def _not_none(shape: Shape, tree: Tree, site: Site, log: Log) -> object:
    """Report a value of another kind; who writes `false` or `null` where `none` belongs is told so."""
    if isinstance(tree, Leaf) and tree.raw and (tree.value is None or tree.value is False):
        message = f"{shape.words} is expected here, not {tree.raw}"
        log.spoil(site.path, tree.mark, "wrong-type", message, NONE)
        return INVALID
    return wrong_type(shape, tree, site, log)


class Overlay(NamedTuple):
    """Some keys of a section, to be laid over it. Their values are judged once they are merged."""

    section: type[Section]
    keys: frozenset[str]
    words: str = "a mapping laid over the file"

    def read(self, tree: Tree, site: Site, log: Log) -> object:
        if not isinstance(tree, Table):
            return wrong_type(self, tree, site, log)
        for name, entry in tree.entries.items():
            if name not in self.keys:
                code, message, near = unknown_key(name, self.keys, self.section.LATER)
                below = site.below(name, entry.mark)
                log.error(below.path, below.key, code, message, near)
        return plain(tree)

    def schema(self) -> Schema:
        return {"type": "object", "properties": {key: {} for key in sorted(self.keys)}, "additionalProperties": False}


def unknown_key(key: str, known: Iterable[str], later: Mapping[str, str]) -> tuple[str, str, str | None]:
    """Code, message and suggestion for a key that is not in a table of keys."""
    if key in later:
        return "not-supported", f"this version of penstock does not build {later[key]} yet", None
    names = list(known)
    return "unknown-key", f"there is no key {key!r} here", nearest(key, names)
