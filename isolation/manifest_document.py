"""The shape of `[tool.penstock]` as an author writes it. Owns names, types and units; reads no file."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from isolation.units import parse_bytes, parse_seconds

__all__ = ["EnvTable", "HookTable", "LimitsTable", "PermissionsTable", "PluginTable", "StageTable"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ENTRY = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_PATH = re.compile(r"(?:payload|context)(?:\.[^.\s]+)*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _named(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"'{text}' is not a name; names match [a-z][a-z0-9_]*")
    return text


def _entry(text: str) -> str:
    if _ENTRY.fullmatch(text) is None:
        raise ValueError(f"'{text}' is not 'module:object'")
    return text


def _path(text: str) -> str:
    if _PATH.fullmatch(text) is None:
        raise ValueError(f"'{text}' is not a path below payload or context, like 'payload.args'")
    return text


def _written(text: str) -> str:
    if not _path(text).startswith("payload"):
        raise ValueError(f"'{text}' cannot be written; a stage writes below payload (and `state` by its answer)")
    return text


def _variable(text: str) -> str:
    if _VARIABLE.fullmatch(text) is None:
        raise ValueError(f"'{text}' is not the name of an environment variable")
    return text


def _seconds(value: object) -> object:
    return parse_seconds(value) if isinstance(value, str) else _needs_unit(value, "5s")


def _bytes(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else _needs_unit(value, "256MiB")


def _needs_unit(value: object, example: str) -> object:
    raise ValueError(f"write a string with its unit, like '{example}', not {value!r}")


def _listed(value: object) -> object:
    """Read the short form `hooks = ["a", "b"]` as a table of hooks that declare nothing more."""
    if not isinstance(value, list):
        return value
    if not all(isinstance(name, str) for name in value):
        raise ValueError("the short form of hooks is a list of hook names")
    return {name: {} for name in value}


def _commanded(argv: list[str]) -> list[str]:
    if not argv or not argv[0]:
        raise ValueError("command needs at least a program")
    return argv


Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, AfterValidator(_named)]
ReadPath = Annotated[str, AfterValidator(_path)]
WritePath = Annotated[str, AfterValidator(_written)]
Variable = Annotated[str, AfterValidator(_variable)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
OutputKind = Literal["string", "int", "double", "bool", "list", "object", "any"]


class _Table(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=lambda name: name.rstrip("_").replace("_", "-")
    )


class HookTable(_Table):
    """What a stage looks at and may change on one hook; absent means not declared."""

    reads: list[ReadPath] | None = None
    writes: list[WritePath] | None = None


class StageTable(_Table):
    """`[tool.penstock.stages.NAME]`."""

    effects: Literal["none", "local", "external"] = "none"
    idempotent: bool = False
    outputs: dict[Name, OutputKind] = {}
    hooks: Annotated[dict[str, HookTable], BeforeValidator(_listed)] | None = None


class PermissionsTable(_Table):
    """`[tool.penstock.permissions]`: nothing unless asked for here."""

    network: list[Text] = []
    filesystem: list[Text] = []
    subprocess: bool = False
    secrets: list[Text] = []


class EnvTable(_Table):
    """`[tool.penstock.env]`: variables to set, and host variables wanted by name."""

    set: dict[Variable, str] = {}
    pass_: list[Variable] = []


class LimitsTable(_Table):
    """`[tool.penstock.limits]`: requested; the operator's limits are the ceiling."""

    memory: Bytes | None = None
    startup: Seconds = 10.0
    kill_after: Seconds = 1.0


class PluginTable(_Table):
    """`[tool.penstock]`. `name`, `version` and `requires-python` only where there is no `[project]` to say them.

    `config-schema` is a file's name or a table; who reads the file judges it.
    """

    name: Text | None = None
    version: Text | None = None
    requires_python: Text | None = None
    api: Text = ">=1.0,<2"
    entry: Annotated[str, AfterValidator(_entry)] | None = None
    command: Annotated[list[str], AfterValidator(_commanded)] | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None
    summary: str = ""
    config_schema: object = None
    data: bool = False
    reload: Literal["overlap", "replace"] = "overlap"
    extras: list[Text] = []
    sdists: list[Text] = []
    stages: Annotated[dict[Name, StageTable], Field(min_length=1)]
    permissions: PermissionsTable = PermissionsTable()
    env: EnvTable = EnvTable()
    limits: LimitsTable = LimitsTable()
