"""Sample payloads made from the hook catalogue: something of the right shape to try a plugin with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipelines.fields import Field, Kind
from pipelines.hooks import CATALOGUE, Hook

__all__ = ["sample_payload", "samples_for"]

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


def sample_payload(hook: Hook) -> dict[str, object]:
    """A payload with every field of `hook`, optional ones too."""
    return _members(hook.payload)


def samples_for(hooks: Iterable[str] | None) -> dict[str, dict[str, object]]:
    """A payload for each hook a manifest lists; None stands for any hook. Custom hooks get an empty one."""
    names = [FREE_HOOK] if hooks is None else hooks
    return {name: sample_payload(CATALOGUE[name]) if name in CATALOGUE else {} for name in names}


def _members(fields: Iterable[Field]) -> dict[str, object]:
    return {field.name: _members(field.fields) if field.fields else _VALUES[field.kind] for field in fields}
