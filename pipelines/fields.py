"""What a JSON object may hold: names, kinds and nested fields, and why a value does not fit. No hook is named here."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipelines.suggest import nearest

__all__ = ["Field", "HookError", "Kind", "fields_of", "misfits"]


class Kind(enum.Enum):
    """The JSON kinds a field may have; an `OBJECT` without nested fields is free in form."""

    STRING = "string"
    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"
    OBJECT = "object"
    LIST = "list"
    ANY = "any"

    def holds(self, value: object) -> bool:
        """Tell whether a decoded JSON value is of this kind; a bool is no int, an int may stand for a double."""
        return type(value) in _TYPES[self]

    @property
    def zero(self) -> object:
        """What a field of this kind reads as where it cannot occur."""
        return _ZEROES[self]()


_TYPES: Mapping[Kind, frozenset[type]] = MappingProxyType(
    {
        Kind.STRING: frozenset({str}),
        Kind.INT: frozenset({int}),
        Kind.DOUBLE: frozenset({int, float}),
        Kind.BOOL: frozenset({bool}),
        Kind.OBJECT: frozenset({dict}),
        Kind.LIST: frozenset({list}),
        Kind.ANY: frozenset({str, int, float, bool, dict, list, type(None)}),
    }
)
_ZEROES: Mapping[Kind, Callable[[], object]] = MappingProxyType(
    {
        Kind.STRING: str,
        Kind.INT: int,
        Kind.DOUBLE: float,
        Kind.BOOL: bool,
        Kind.OBJECT: dict,
        Kind.LIST: list,
        Kind.ANY: lambda: None,
    }
)


@dataclass(frozen=True, slots=True)
class Field:
    """One member of an object. `fields` are the members of an object whose shape is known."""

    name: str
    kind: Kind
    required: bool = True
    doc: str = ""
    fields: tuple[Field, ...] = ()


class HookError(ValueError):
    """A declaration of fields is wrong at `path`, from the declaration's root."""

    def __init__(self, path: tuple[str, ...], message: str, suggestion: str | None = None) -> None:
        self.path, self.message, self.suggestion = path, message, suggestion
        super().__init__(f"{'.'.join(path)}: {message}")


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def fields_of(
    declared: Mapping[str, object], meanings: Mapping[str, str] = MappingProxyType({}), path: tuple[str, ...] = ()
) -> tuple[Field, ...]:
    """Read `{name: "string", "tags?": "list", user: {id: "string"}}`; a `?` marks what may be absent or null.

    Raises HookError.
    """
    found: dict[str, Field] = {}
    for label, kind in declared.items():
        field = _field(str(label), kind, meanings, (*path, str(label)))
        if field.name in found:
            raise HookError((*path, str(label)), f"{field.name!r} is declared twice, with and without ?")
        found[field.name] = field
    return tuple(found.values())


def _field(label: str, kind: object, meanings: Mapping[str, str], path: tuple[str, ...]) -> Field:
    name, required = label.removesuffix("?"), not label.endswith("?")
    if not _NAME.match(name):
        raise HookError(path, f"{name!r} is no field name: letters, digits and _, with a ? behind what may be absent")
    doc = meanings.get(name, "")
    if isinstance(kind, Mapping):
        return Field(name, Kind.OBJECT, required, doc, fields_of(kind, meanings, path))
    try:
        return Field(name, Kind(kind), required, doc)
    except ValueError:
        known = [k.value for k in Kind]
        near = nearest(kind, known) if isinstance(kind, str) else None
        raise HookError(path, f"{kind!r} is no kind of field; kinds are {', '.join(known)}", near) from None


def misfits(fields: tuple[Field, ...], value: Mapping[str, object], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield a sentence for each member of `value` that does not fit `fields`."""
    known = {field.name: field for field in fields}
    for name in value:
        if name not in known:
            near = nearest(str(name), known)
            hint = f"; did you mean {near!r}?" if near else ""
            yield f"{_dotted(path, str(name))} is not a field of this hook{hint}"
    for field in fields:
        yield from _misfits_of(field, value.get(field.name), (*path, field.name))


def _misfits_of(field: Field, value: object, path: tuple[str, ...]) -> Iterator[str]:
    if value is None and field.kind is not Kind.ANY:
        if field.required:
            yield f"{_dotted(path)} is missing"
    elif not field.kind.holds(value):
        yield f"{_dotted(path)} must be of kind {field.kind.value}, not {type(value).__name__}"
    elif field.fields and isinstance(value, Mapping):
        yield from misfits(field.fields, value, path)


def _dotted(path: tuple[str, ...], *more: str) -> str:
    return ".".join((*path, *more))
