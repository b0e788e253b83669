"""YAML of an operator, read with the scalars of YAML 1.2: `off` is a word, and no key stands twice."""

from __future__ import annotations

import re
from typing import Any

import yaml

__all__ = ["NotYaml", "read_yaml"]

_MAX_BYTES = 1024 * 1024


class NotYaml(ValueError):
    """The text is not YAML as it is read here; the message says where."""


class _Loader(yaml.SafeLoader):
    """Scalars of the core schema only; anchors, tags and merge keys are refused."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML has no types here
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise yaml.constructor.ConstructorError(None, None, "an anchor, an alias or a tag", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, "a key that stands twice, or is no text", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:null", r"~|null|", ("~", "n", "")),
    ("tag:yaml.org,2002:bool", r"true|false", ("t", "f")),
    ("tag:yaml.org,2002:int", r"[-+]?(0|[1-9][0-9]*)", tuple("-+0123456789")),
    ("tag:yaml.org,2002:float", r"[-+]?[0-9]+\.[0-9]+", tuple("-+0123456789")),
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)


def read_yaml(data: bytes) -> object:
    """Read one document. Raises NotYaml."""
    if len(data) > _MAX_BYTES:
        raise NotYaml(f"larger than {_MAX_BYTES} bytes")
    try:
        return yaml.load(data.decode("utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise NotYaml(" ".join(str(error).split())) from error
