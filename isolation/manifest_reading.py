"""From a plugin's folder or file to a checked manifest. Collects every mistake before it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from pydantic import BaseModel, ValidationError

from isolation.errors import ManifestError
from isolation.manifest_document import (
    EnvTable,
    HookTable,
    LimitsTable,
    PermissionsTable,
    PluginTable,
    StageTable,
)
from isolation.manifest_files import check_command, check_entry, read_config_schema
from isolation.manifest_sheet import Sheet, fail, nearest
from isolation.manifest_values import (
    Effects,
    HookRule,
    Limits,
    Manifest,
    Permissions,
    Reload,
    SourceKind,
    StageManifest,
)

__all__ = ["read"]

_ROOT = ("tool", "penstock")
_SAID_BY_PROJECT = ("name", "version", "requires-python")
_EXPECTED = MappingProxyType(
    {
        "string_type": "a string",
        "bool_type": "true or false",
        "int_type": "an integer",
        "list_type": "a list",
        "dict_type": "a table",
        "model_type": "a table",
        "model_attributes_type": "a table",
    }
)
_TABLES: Mapping[str, type[BaseModel]] = MappingProxyType(
    {"permissions": PermissionsTable, "env": EnvTable, "limits": LimitsTable}
)
_KINDS_MEANT = MappingProxyType(
    {"str": "string", "text": "string", "integer": "int", "float": "double", "number": "double", "boolean": "bool"}
    | {"map": "object", "dict": "object", "array": "list"}
)


def read(source: Path) -> Manifest:
    """Read the manifest of a plugin folder or of a single file. Raise ManifestError with every mistake in it."""
    root = source.resolve()
    if not root.exists():
        raise fail(source, "no such file or folder")
    script = None if root.is_dir() else root
    if script is not None and script.suffix != ".py":
        raise fail(source, "neither a folder nor a .py file")
    sheet = Sheet.of_folder(source) if script is None else Sheet.of_script(source)
    return _Reading(sheet, root if script is None else root.parent, script).manifest()


class _Reading:
    """One pass over a sheet. Every check notes what it finds wrong in the sheet and goes on."""

    def __init__(self, sheet: Sheet, root: Path, script: Path | None) -> None:
        self._sheet = sheet
        self._root = root
        self._script = script
        table = sheet.table(*_ROOT)
        if table is None:
            sheet.blame_key(_ROOT, "is missing; a plugin's manifest is the table [tool.penstock]")
            raise ManifestError(tuple(sheet.problems))
        self._table = table
        self._project = sheet.table("project") if script is None else None

    def manifest(self) -> Manifest:
        plugin = self._plugin()
        name, version = self._name(), self._version()
        requires_python = self._requires_python()
        dependencies = self._dependencies()
        available = self._available_extras()
        self._check_extras(available)
        self._check_specifier((*_ROOT, "api"), self._table.get("api"))
        entry, command = self._entry_and_command()
        schema = read_config_schema(
            self._sheet, (*_ROOT, "config-schema"), self._table.get("config-schema"), self._root
        )
        if plugin is None or self._sheet.problems:
            raise ManifestError(tuple(sorted(self._sheet.problems, key=lambda found: (found.line, found.column))))
        return Manifest(
            name=name,
            version=version,
            kind=self._kind(),
            root=self._root,
            script=self._script,
            stages=MappingProxyType({key: _stage(key, stage) for key, stage in plugin.stages.items()}),
            summary=plugin.summary,
            api=plugin.api,
            requires_python=requires_python,
            entry=entry,
            command=command,
            concurrency=plugin.concurrency,
            config_schema=schema,
            data=plugin.data,
            reload=Reload(plugin.reload),
            extras=tuple(canonicalize_name(extra) for extra in plugin.extras),
            available_extras=available,
            sdists=frozenset(canonicalize_name(name) for name in plugin.sdists),
            dependencies=dependencies,
            permissions=_permissions(plugin.permissions),
            env_set=MappingProxyType(dict(plugin.env.set)),
            env_pass=tuple(plugin.env.pass_),
            limits=_limits(plugin.limits),
        )

    def _plugin(self) -> PluginTable | None:
        try:
            return PluginTable.model_validate(self._table)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                context = detail.get("ctx", {})
                self._note(detail["loc"], detail["type"], detail["msg"], context, detail["input"])
            return None

    def _note(
        self, loc: tuple[str | int, ...], kind: str, message: str, context: Mapping[str, object], given: object
    ) -> None:
        """Turn one finding of pydantic into a problem with our words, place and suggestion."""
        about_key = bool(loc) and loc[-1] == "[key]"
        path = (*_ROOT, *(loc[:-1] if about_key else loc))
        if kind == "extra_forbidden":
            self._sheet.blame_key(path, "unknown key", nearest(str(loc[-1]), _known_keys(loc[:-1])))
        elif kind == "missing":
            self._sheet.blame_key(path, "is required")
        elif kind == "literal_error":
            choices = re.findall(r"'([^']*)'", str(context["expected"]))
            near = nearest(str(given), choices) or _KINDS_MEANT.get(str(given))
            one_of = f"must be one of {', '.join(choices)}, not {given!r}"
            self._sheet.blame_value(path, one_of, near if near in choices else None)
        elif kind == "too_short":
            self._sheet.blame_value(path, "needs at least one stage")
        else:
            said = str(context["error"]) if kind == "value_error" else message[0].lower() + message[1:]
            expected = _EXPECTED.get(kind)
            said = said if expected is None else f"must be {expected}, not {_what(given)}"
            (self._sheet.blame_key if about_key else self._sheet.blame_value)(path, said)

    def _kind(self) -> SourceKind:
        if self._script is not None:
            return SourceKind.SCRIPT
        requirements = (self._root / "requirements.txt").is_file()
        says_dependencies = self._project is not None and {"dependencies", "optional-dependencies"} & set(self._project)
        if requirements and not says_dependencies:
            return SourceKind.REQUIREMENTS
        return SourceKind.BARE if self._project is None else SourceKind.PROJECT

    def _said(self, key: str) -> tuple[tuple[str, ...], object]:
        """Find `name`, `version` or `requires-python` where this kind of plugin says it."""
        if self._project is not None:
            if key in self._table:
                self._sheet.blame_key((*_ROOT, key), f"say it in [project], which has its own `{key}`")
            return ("project", key), self._project.get(key)
        if self._script is not None and key == "requires-python":
            if key in self._table:
                self._sheet.blame_key((*_ROOT, key), "say it at the top of the script's block")
            return (key,), self._sheet.document.get(key)
        return (*_ROOT, key), self._table.get(key)

    def _name(self) -> str:
        path, name = self._said("name")
        if isinstance(name, str) and name:
            return name
        if self._project is not None:
            self._sheet.blame_value(path, "is required, a string")
        return self._root.name if self._script is None else self._script.stem

    def _version(self) -> str:
        path, version = self._said("version")
        if isinstance(version, str) and version:
            return version
        if self._project is not None:
            self._sheet.blame_value(path, "is required, a string; a dynamic version would run the plugin's code")
        return "0"

    def _requires_python(self) -> str | None:
        path, wanted = self._said("requires-python")
        if path[:2] != _ROOT and wanted is not None and not isinstance(wanted, str):
            self._sheet.blame_value(path, f"must be a string, not {_what(wanted)}")
        self._check_specifier(path, wanted)
        return wanted if isinstance(wanted, str) else None

    def _check_specifier(self, path: tuple[str, ...], text: object) -> None:
        if isinstance(text, str):
            try:
                SpecifierSet(text)
            except InvalidSpecifier:
                self._sheet.blame_value(path, f"'{text}' is not a version specifier like '>=3.11,<4'")

    def _dependencies(self) -> tuple[str, ...]:
        """Check the requirements written here, and that nothing would have to be run to know them."""
        dynamic = self._project.get("dynamic", []) if self._project is not None else []
        for index, name in enumerate(dynamic if isinstance(dynamic, list) else []):
            if name in {"dependencies", "optional-dependencies"}:
                message = f"dynamic {name} would run the plugin's build; write them down"
                self._sheet.blame_value(("project", "dynamic", index), message)
        if self._script is not None:
            return self._requirements(("dependencies",), self._sheet.document.get("dependencies", []))
        if self._project is None:
            return ()
        return self._requirements(("project", "dependencies"), self._project.get("dependencies", []))

    def _requirements(self, path: tuple[str | int, ...], written: object) -> tuple[str, ...]:
        if not isinstance(written, list):
            self._sheet.blame_value(path, f"must be a list of requirements, not {_what(written)}")
            return ()
        for index, text in enumerate(written):
            try:
                Requirement(text if isinstance(text, str) else "")
            except InvalidRequirement as error:
                first = str(error).splitlines()[0]
                self._sheet.blame_value((*path, index), f"{text!r} is not a requirement: {first}")
        return tuple(text for text in written if isinstance(text, str))

    def _available_extras(self) -> frozenset[str]:
        groups = {} if self._project is None else self._project.get("optional-dependencies", {})
        if not isinstance(groups, dict):
            self._sheet.blame_value(("project", "optional-dependencies"), f"must be a table, not {_what(groups)}")
            return frozenset()
        for name, requirements in groups.items():
            self._requirements(("project", "optional-dependencies", name), requirements)
        return frozenset(canonicalize_name(name) for name in groups)

    def _check_extras(self, available: frozenset[str]) -> None:
        asked = self._table.get("extras")
        for index, extra in enumerate(asked if isinstance(asked, list) else []):
            if isinstance(extra, str) and canonicalize_name(extra) not in available:
                have = ", ".join(sorted(available)) or "none"
                message = f"'{extra}' is no extra of [project.optional-dependencies] (it has: {have})"
                self._sheet.blame_value((*_ROOT, "extras", index), message, nearest(extra, available))

    def _entry_and_command(self) -> tuple[str | None, tuple[str, ...] | None]:
        command = self._table.get("command")
        if command is not None:
            if "entry" in self._table:
                self._sheet.blame_key((*_ROOT, "entry"), "a plugin has an entry or a command, not both")
            check_command(self._sheet, (*_ROOT, "command"), command, self._root)
            words = command if isinstance(command, list) else []
            return None, tuple(word for word in words if isinstance(word, str))
        default = "plugin:plugin" if self._script is None else f"{self._script.stem}:plugin"
        entry = self._table.get("entry", default)
        if not isinstance(entry, str):
            return None, None
        check_entry(self._sheet, (*_ROOT, "entry"), entry, self._root, self._script)
        return entry, None


def _known_keys(loc: tuple[str | int, ...]) -> list[str]:
    """List the keys that the table at `loc` below `[tool.penstock]` may have."""
    model: type[BaseModel] = PluginTable
    if loc[:1] == ("stages",):
        model = StageTable if len(loc) == 2 else HookTable
    elif loc:
        model = _TABLES[str(loc[0])]
    return [field.alias or name for name, field in model.model_fields.items()]


def _what(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return repr(value)


def _stage(name: str, table: StageTable) -> StageManifest:
    hooks = table.hooks
    return StageManifest(
        name=name,
        effects=Effects(table.effects),
        idempotent=table.idempotent,
        outputs=MappingProxyType(dict(table.outputs)),
        hooks=None if hooks is None else MappingProxyType({hook: _rule(rule) for hook, rule in hooks.items()}),
    )


def _rule(table: HookTable) -> HookRule:
    return HookRule(
        reads=None if table.reads is None else tuple(table.reads),
        writes=None if table.writes is None else tuple(table.writes),
    )


def _permissions(table: PermissionsTable) -> Permissions:
    return Permissions(tuple(table.network), tuple(table.filesystem), table.subprocess, tuple(table.secrets))


def _limits(table: LimitsTable) -> Limits:
    return Limits(table.memory, table.startup, table.kill_after)
