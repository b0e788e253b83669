"""The shape of `[tool.penstock]` as an author writes it: which key has which type, unit and default. Reads no file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from isolation.manifest.sheet import nearest
from isolation.manifest.table import TableReader
from isolation.manifest.units import parse_bytes, parse_seconds
from isolation.manifest.values import Effects, HookRule, Limits, Permissions, StageManifest

__all__ = ["OUTPUT_KINDS", "judge_entry", "read_commands", "read_env", "read_limits", "read_permissions", "read_stages"]

OUTPUT_KINDS = ("string", "int", "double", "bool", "list", "object", "any")

_SLIPS = MappingProxyType(
    {"str": "string", "text": "string", "integer": "int", "float": "double", "number": "double", "boolean": "bool"}
    | {"map": "object", "dict": "object", "table": "object", "array": "list"}
)
_COUNTED = ("string", "list")
"""Kinds of outputs that have values few enough to count: a word, or words."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_COMMAND = re.compile(r"[a-z][a-z0-9-]*")
_ENTRY = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_PATH = re.compile(r"(?:payload|context)(?:\.[^.\s]+)*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_stages(plugin: TableReader) -> dict[str, StageManifest]:
    """Read `[tool.penstock.stages.NAME]`, at least one."""
    tables = dict(plugin.tables("stages", _judge_name))
    stages = {name: _stage(name, table) for name, table in tables.items()}
    undone: dict[str, str] = {}
    for name, stage in stages.items():
        if stage.undoes is not None:
            _judge_undo(stage, stages, undone, tables[name])
            undone.setdefault(stage.undoes, name)
    return stages


def read_permissions(table: TableReader) -> Permissions:
    """Read `[tool.penstock.permissions]`: nothing unless asked for here."""
    found = Permissions(
        network=table.texts("network"),
        filesystem=table.texts("filesystem"),
        subprocess=table.flag("subprocess", False),
        secrets=table.texts("secrets"),
        optional_secrets=table.texts("optional-secrets"),
    )
    table.done()
    return found


def read_env(table: TableReader) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Read `[tool.penstock.env]`: variables to set, and host variables wanted by name."""
    fixed = table.named_texts("set", _judge_variable)
    passed = table.texts("pass", _judge_variable)
    table.done()
    return MappingProxyType(fixed), passed


def read_limits(table: TableReader) -> Limits:
    """Read `[tool.penstock.limits]`: requested; the operator's limits are the ceiling."""
    default = Limits()
    found = Limits(
        memory_bytes=table.quantity("memory", parse_bytes, "256MiB"),
        startup_seconds=table.quantity("startup", parse_seconds, "5s") or default.startup_seconds,
        kill_after_seconds=table.quantity("kill-after", parse_seconds, "1s") or default.kill_after_seconds,
    )
    table.done()
    return found


def read_commands(plugin: TableReader) -> Mapping[str, str]:
    """Read `[tool.penstock.commands]`: names of commands and the functions that they call."""
    found = plugin.named_texts("commands", _judge_command)
    for name, entry in found.items():
        try:
            judge_entry(entry)
        except ValueError as error:
            plugin.refuse("commands", f"{name}: {error}")
    return MappingProxyType(found)


def judge_entry(text: str) -> None:
    """Refuse what is not `module:object`."""
    if _ENTRY.fullmatch(text) is None:
        raise ValueError(f"'{text}' is not 'module:object'")


def _stage(name: str, table: TableReader) -> StageManifest:
    found = StageManifest(
        name=name,
        effects=table.choice("effects", Effects.NONE),
        idempotent=table.flag("idempotent", False),
        outputs=MappingProxyType(table.named_texts("outputs", _judge_name, _SLIPS, OUTPUT_KINDS)),
        hooks=_hooks(table),
        undoes=table.maybe_text("undoes"),
        admits=table.flag("admits", False),
        signs=table.texts("signs"),
        counts=table.texts("counts"),
    )
    table.done()
    for key, named in (("signs", found.signs), ("counts", found.counts)):
        for output in named:
            if output not in found.outputs:
                table.refuse(key, f"'{output}' is none of its outputs", nearest(output, found.outputs))
    for output in found.counts:
        if found.outputs.get(output, "string") not in _COUNTED:
            table.refuse("counts", f"'{output}' is no {' or '.join(_COUNTED)}, whose values could be counted")
    if found.admits and found.undoes is not None:
        table.refuse("admits", "a stage that undoes another admits nothing")
    elif found.admits and not found.hooks:
        table.refuse("admits", "say under `hooks` on which hooks it admits; nobody may be let in there without it")
    return found


def _judge_undo(
    undo: StageManifest, stages: Mapping[str, StageManifest], undone: Mapping[str, str], table: TableReader
) -> None:
    """Note what is wrong with an undo: it undoes one ordinary stage of this manifest, which no other undoes."""
    named = undo.undoes or ""
    ordinary = [name for name, stage in stages.items() if stage.undoes is None]
    if named == undo.name:
        table.refuse("undoes", "a stage cannot undo itself")
    elif named not in stages:
        known = ", ".join(ordinary) or "none"
        table.refuse("undoes", f"'{named}' is no stage of this manifest (it has: {known})", nearest(named, ordinary))
    elif named not in ordinary:
        table.refuse("undoes", f"'{named}' undoes '{stages[named].undoes}' itself; an undo cannot be undone")
    elif named in undone:
        table.refuse("undoes", f"'{named}' is undone by '{undone[named]}' already; a stage has one undo at most")
    elif missing := _missing_hooks(undo, stages[named]):
        table.refuse("hooks", f"lacks {missing} of '{named}'; an undo is called wherever its stage was; leave it out")


def _missing_hooks(undo: StageManifest, stage: StageManifest) -> str:
    if undo.hooks is None:
        return ""
    return (
        "every other hook" if stage.hooks is None else ", ".join(name for name in stage.hooks if name not in undo.hooks)
    )


def _hooks(stage: TableReader) -> Mapping[str, HookRule] | None:
    """Read hooks with their rules, or the short form that only lists them; None where any hook will do."""
    given = stage.raw("hooks")
    if given is None:
        return None
    if isinstance(given, list):
        if not all(isinstance(name, str) for name in given):
            stage.refuse("hooks", "the short form of hooks is a list of hook names")
        return MappingProxyType({str(name): HookRule() for name in given})
    return MappingProxyType({name: _rule(table) for name, table in stage.tables("hooks")})


def _rule(table: TableReader) -> HookRule:
    found = HookRule(reads=table.maybe_texts("reads", _judge_path), writes=table.maybe_texts("writes", _judge_written))
    table.done()
    return found


def _judge_name(text: str) -> None:
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"'{text}' is not a name; names match [a-z][a-z0-9_]*")


def _judge_command(text: str) -> None:
    if _COMMAND.fullmatch(text) is None:
        raise ValueError(f"'{text}' is not the name of a command; names match [a-z][a-z0-9-]*")


def _judge_path(text: str) -> None:
    if _PATH.fullmatch(text) is None:
        raise ValueError(f"'{text}' is not a path below payload or context, like 'payload.args'")


def _judge_written(text: str) -> None:
    _judge_path(text)
    if not text.startswith("payload"):
        raise ValueError(f"'{text}' cannot be written; a stage writes below payload (and `state` by its answer)")


def _judge_variable(text: str) -> None:
    if _VARIABLE.fullmatch(text) is None:
        raise ValueError(f"'{text}' is not the name of an environment variable")
