"""Schemas by name, compiled once, and what a value has against one. Nothing is ever fetched."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Protocol

import jsonschema_rs

__all__ = ["Complaint", "Declared", "Schema", "SchemaError", "Table", "compiled", "complaints"]

# What a tool declares is not ours: a schema beyond this size is refused, and only so many are kept compiled.
MAX_DECLARED_BYTES = 256 * 1024
MAX_KEPT = 256

# Steps a pattern may go back before it counts as no match: a schema's pattern cannot hang a call.
_BACKTRACK_LIMIT = 100_000
_MAX_MESSAGE_CHARS = 200
_MAX_PATH_CHARS = 200


class SchemaError(ValueError):
    """A schema that cannot be used; the message begins with where it was written."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong with a value: where (from the payload), which keyword says so, and how.

    Neither member holds a part of the value, for it may be secret; names of members do appear.
    """

    path: str
    keyword: str
    message: str


class Schema(Protocol):
    """A compiled schema."""

    def iter_errors(self, instance: object) -> Sequence[jsonschema_rs.ValidationError]:
        """Yield what is wrong with a value."""


def compiled(schema: object, where: str) -> Schema:
    """Compile a schema, draft 2020-12 unless `$schema` says another. Raises SchemaError, also for a remote `$ref`."""
    try:
        return jsonschema_rs.validator_for(
            schema,
            validate_formats=True,
            retriever=_refuse,
            mask="the value",
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACK_LIMIT),
        )
    except jsonschema_rs.ValidationError as error:
        place = "".join(f".{key}" for key in error.instance_path)
        raise SchemaError(f"{where}{place[:_MAX_PATH_CHARS]}: {error.message[:_MAX_MESSAGE_CHARS]}") from None
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SchemaError(f"{where}: {first[:_MAX_MESSAGE_CHARS]}") from None


def _refuse(uri: str) -> object:
    raise ValueError(f"nothing is fetched: write {uri} out, or put it under $defs")


def complaints(schema: Schema, value: object, field: str, most: int) -> list[Complaint]:
    """List what is wrong with the value of a payload's `field`, at most `most` things."""
    return [_complaint(error, field) for error in islice(schema.iter_errors(value), most)]


def _complaint(error: jsonschema_rs.ValidationError, field: str) -> Complaint:
    path = field + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in error.instance_path)
    keyword = str(error.schema_path[-1]) if error.schema_path else "false"
    return Complaint(path[:_MAX_PATH_CHARS], keyword, error.message[:_MAX_MESSAGE_CHARS])


class Table:
    """The operator's schemas by name. A name may be a pattern with `*`; an exact name comes first, then file order."""

    def __init__(self, schemas: Mapping[str, object], setting: str) -> None:
        made = {name: compiled(schema, f"{setting}.{name}") for name, schema in schemas.items()}
        self._exact = made
        self._patterns = [(name, schema) for name, schema in made.items() if "*" in name]

    def get(self, name: str) -> Schema | None:
        """Return the schema for a name, None if there is none."""
        if name in self._exact:
            return self._exact[name]
        return next((schema for pattern, schema in self._patterns if fnmatchcase(name, pattern)), None)


class Declared:
    """Schemas that tools declare themselves, compiled when first seen and kept while they are in use."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Schema] = OrderedDict()

    def get(self, schema: object, where: str) -> Schema:
        """Return the compiled schema. Raises SchemaError."""
        try:
            text = json.dumps(schema, sort_keys=True, separators=(",", ":"))
        except RecursionError:
            raise SchemaError(f"{where}: nested too deeply") from None
        if len(text) > MAX_DECLARED_BYTES:
            raise SchemaError(f"{where}: larger than {MAX_DECLARED_BYTES} bytes")
        if text not in self._kept:
            self._kept[text] = compiled(schema, where)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(text)
        return self._kept[text]
