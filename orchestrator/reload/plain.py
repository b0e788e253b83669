"""Values of a plan as plain ones: canonical JSON text that is equal exactly when the values mean the same."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping

from pipelines.expressions import Expression

__all__ = ["PLACES", "facets_of", "plain_text"]

PLACES = frozenset({"mark"})
"""Where a value stands in its file; a line that was only moved is no change."""


def plain_text(value: object) -> str:
    """The text of any value of a plan. A string stays as it is, so that people can read it."""
    plain = _plain(value)
    return plain if isinstance(plain, str) else _json(plain)


def facets_of(value: object, but: frozenset[str] = frozenset()) -> dict[str, str]:
    """Every field of a dataclass as text, so that a field added later is compared without being named here.

    A field of None is left out: what is not said is not said. `timeout_seconds` becomes `timeout`, with its unit.
    """
    assert dataclasses.is_dataclass(value)
    found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    wanted = {name: each for name, each in found.items() if name not in but | PLACES and each is not None}
    return {name.removesuffix(_SECONDS): _text(name, each) for name, each in wanted.items()}


_SECONDS = "_seconds"


def _text(name: str, value: object) -> str:
    return f"{value:g} s" if name.endswith(_SECONDS) and isinstance(value, float | int) else plain_text(value)


def _plain(value: object) -> object:
    if isinstance(value, Expression):
        return value.text
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field.name for field in dataclasses.fields(value) if field.name not in PLACES)
        return {name: _plain(getattr(value, name)) for name in fields}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_plain(each) for each in value), key=_json)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _json(plain: object) -> str:
    return json.dumps(plain, sort_keys=True, ensure_ascii=False)
