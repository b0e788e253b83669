"""How a value fails its JSON Schema, in our words. The library judges, this file speaks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pipelines.file.tree import Path
from pipelines.suggest import nearest

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

__all__ = ["Judge", "Misfit", "misfits"]


class Misfit(NamedTuple):
    """One way in which a value does not fit; `at_key` where the key and not the value is wrong."""

    path: Path
    message: str
    suggestion: str | None = None
    at_key: bool = False


class Judge:
    """A schema (JSON Schema 2020-12), ready to judge many values. Raise ValueError for one that is not valid."""

    def __init__(self, schema: Mapping[str, object]) -> None:
        # Imported here: a file without configured plugins needs no schema library.
        import jsonschema_rs

        self._schema = schema
        try:
            self._validator = jsonschema_rs.validator_for(dict(schema), offline=True)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
            raise ValueError(getattr(error, "message", str(error))) from None

    def misfits(self, value: object) -> list[Misfit]:
        """Everything about `value` that the schema refuses."""
        errors = self._validator.iter_errors(value)
        return _without_echoes([misfit for error in errors for misfit in _explain(error, self._schema)])


def misfits(schema: Mapping[str, object], value: object) -> list[Misfit]:
    """Judge one value."""
    return Judge(schema).misfits(value)


def _without_echoes(found: list[Misfit]) -> list[Misfit]:
    # A key that is missing because it is misspelt is one mistake.
    meant = {(*misfit.path[:-1], misfit.suggestion) for misfit in found if misfit.suggestion and misfit.at_key}
    return [misfit for misfit in found if misfit.suggestion or misfit.path not in meant]


def _explain(error: ValidationError, schema: Mapping[str, object]) -> Iterator[Misfit]:
    kind = error.kind.name
    path = tuple(error.instance_path)
    if kind in ("additionalProperties", "unevaluatedProperties"):
        known = _properties(schema, error.schema_path)
        for name in error.kind.value:
            yield Misfit((*path, name), f"the plugin knows no key {name!r}", nearest(name, known), at_key=True)
    elif kind == "required":
        yield Misfit((*path, error.kind.value), f"the plugin needs the key {error.kind.value!r}", at_key=True)
    elif kind in ("anyOf", "oneOf") and (deeper := _nearest_branch(error)):
        for inner in deeper:
            yield from _explain(inner, schema)
    elif kind == "enum":
        options = [option for option in error.kind.value if isinstance(option, str)]
        near = nearest(error.instance, options) if isinstance(error.instance, str) else None
        yield Misfit(path, _SENTENCES["enum"](error.kind.value), near)
    else:
        sentence = _SENTENCES.get(kind)
        said = f"the plugin's schema refuses it: {error.message}" if sentence is None else sentence(error.kind.value)
        yield Misfit(path, said)


def _nearest_branch(error: ValidationError) -> list[ValidationError]:
    """Of several alternatives the one that was meant: it alone is wrong inside, not as a whole."""
    depth = len(error.instance_path)
    branches = [list(branch) for branch in error.kind.value if branch]
    inside = [b for b in branches if any(len(e.instance_path) > depth for e in b)]
    alike = [b for b in branches if all(e.kind.name != "type" or len(e.instance_path) > depth for e in b)]
    chosen = inside or alike
    return chosen[0] if len(chosen) == 1 else []


def _properties(schema: Mapping[str, object], path: list[str | int]) -> list[str]:
    """The keys known where the schema refused one: beside the keyword at the end of `path`."""
    here: object = schema
    for part in path[:-1]:
        if isinstance(here, Mapping):
            here = here.get(str(part))
            here = _target(schema, here) if part == "$ref" else here
        elif isinstance(here, list):
            here = here[int(part)]
    properties = here.get("properties") if isinstance(here, Mapping) else None
    return list(properties) if isinstance(properties, Mapping) else []


def _target(schema: Mapping[str, object], reference: object) -> object:
    """What `#/$defs/name` points at; schemas elsewhere are not followed."""
    here: object = schema
    for part in str(reference).removeprefix("#/").split("/"):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def _show(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


_TYPES = {"object": "a mapping", "array": "a list", "string": "text", "integer": "a whole number", "number": "a number",
          "boolean": "true or false", "null": "nothing"}  # fmt: skip


def _types(names: object) -> str:
    listed = names if isinstance(names, list) else [names]
    return " or ".join(_TYPES.get(str(name), str(name)) for name in listed)


_SENTENCES: Mapping[str, Callable[[object], str]] = {
    "type": lambda v: f"the plugin expects {_types(v)} here",
    "enum": lambda v: "the plugin knows " + ", ".join(_show(o) for o in v) if isinstance(v, list) else "is not allowed",
    "const": lambda v: f"the plugin allows only {_show(v)} here",
    "minimum": lambda v: f"the plugin allows no less than {v}",
    "maximum": lambda v: f"the plugin allows no more than {v}",
    "exclusiveMinimum": lambda v: f"the plugin allows only more than {v}",
    "exclusiveMaximum": lambda v: f"the plugin allows only less than {v}",
    "multipleOf": lambda v: f"the plugin allows only multiples of {v}",
    "minLength": lambda v: f"the plugin wants at least {v} characters",
    "maxLength": lambda v: f"the plugin wants at most {v} characters",
    "minItems": lambda v: f"the plugin wants at least {v} items",
    "maxItems": lambda v: f"the plugin wants at most {v} items",
    "minProperties": lambda v: f"the plugin wants at least {v} keys",
    "maxProperties": lambda v: f"the plugin wants at most {v} keys",
    "uniqueItems": lambda _: "the plugin wants every item once",
    "pattern": lambda v: f"the plugin wants text that matches {v}",
    "format": lambda v: f"the plugin wants text of the form {v}",
    "falseSchema": lambda _: "the plugin allows nothing here",
}
