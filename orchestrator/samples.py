"""Sample payloads: made from the hook catalogue, or given by an author; something to try a plugin with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.fields import Field, Kind
from pipelines.hooks import CATALOGUE, Hook

__all__ = ["BadSample", "Sample", "read_sample", "sample_payload", "samples_for"]

_VALUES: Mapping[Kind, object] = {
    Kind.STRING: "sample",
    Kind.INT: 1,
    Kind.DOUBLE: 0.5,
    Kind.BOOL: True,
    Kind.OBJECT: {"sample": "text", "nested": {"list": [1, "two", None]}},
    Kind.LIST: [],
    Kind.ANY: {"content": [{"type": "text", "text": "sample"}]},
}

FREE_HOOK = "tool_pre_invoke"
"""Where a stage is tried that may be used on any hook."""


class BadSample(ValueError):
    """A file that is to hold a sample holds none; the message names it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What an author tries a stage with. `payload` is None where one made from the hook will do."""

    payload: Mapping[str, object] | None = None
    input: Mapping[str, object] = field(default_factory=dict)


def read_sample(file: Path) -> Sample:
    """Read `{"payload": {...}, "input": {...}}`, either of which may be left out. Raises BadSample."""
    try:
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise BadSample(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise BadSample(f"{file} is not JSON: {error}") from None
    if not isinstance(value, dict) or not value or not set(value) <= {"payload", "input"}:
        raise BadSample(f"{file} must hold an object with `payload`, `input` or both, and nothing else")
    if not all(isinstance(member, dict) for member in value.values()):
        raise BadSample(f"{file}: `payload` and `input` must be objects")
    return Sample(value.get("payload"), value.get("input", {}))


def sample_payload(hook: Hook) -> dict[str, object]:
    """A payload with every field of `hook`, optional ones too."""
    return _members(hook.payload)


def samples_for(
    hooks: Iterable[str] | None, given: Mapping[str, object] | None = None
) -> dict[str, Mapping[str, object]]:
    """A payload for each hook a manifest lists; None stands for any hook. Custom hooks get an empty one.

    `given` takes the place of all of them.
    """
    names = [FREE_HOOK] if hooks is None else hooks
    if given is not None:
        return dict.fromkeys(names, given)
    return {name: sample_payload(CATALOGUE[name]) if name in CATALOGUE else {} for name in names}


def _members(fields: Iterable[Field]) -> dict[str, object]:
    return {field.name: _members(field.fields) if field.fields else _VALUES[field.kind] for field in fields}
