"""From a plugin's folder or file to a checked manifest. Collects every mistake before it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from isolation.errors import ManifestError
from isolation.manifest.document import (
    judge_entry,
    read_commands,
    read_env,
    read_limits,
    read_permissions,
    read_stages,
)
from isolation.manifest.files import check_command, check_entry, read_config_schema
from isolation.manifest.sheet import Sheet, fail, nearest
from isolation.manifest.standards import DEFAULT_API, judge_api, judge_requirement, judge_specifier, normalised
from isolation.manifest.table import TableReader, what
from isolation.manifest.values import Manifest, Reload, SourceKind, StageManifest

__all__ = ["read"]

_ROOT = ("tool", "penstock")


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
        plugin = TableReader(self._sheet, _ROOT, self._table)
        env_set, env_pass = read_env(plugin.table("env"))
        available = self._available_extras()
        entry, command = self._entry_and_command(plugin)
        manifest = Manifest(
            name=self._name(plugin),
            version=self._version(plugin),
            kind=self._kind(),
            root=self._root,
            script=self._script,
            stages=MappingProxyType(self._stages(plugin)),
            summary=plugin.text("summary", ""),
            deprecated=plugin.text("deprecated", ""),
            api=plugin.text("api", DEFAULT_API, judge_api),
            requires_python=self._requires_python(plugin),
            entry=entry,
            command=command,
            concurrency=plugin.count("concurrency"),
            config_schema=read_config_schema(
                self._sheet, (*_ROOT, "config-schema"), plugin.raw("config-schema"), self._root
            ),
            data=plugin.flag("data", False),
            reload=plugin.choice("reload", Reload.OVERLAP),
            extras=self._extras(plugin, available),
            available_extras=available,
            sdists=frozenset(normalised(name) for name in plugin.texts("sdists")),
            dependencies=self._dependencies(),
            permissions=read_permissions(plugin.table("permissions")),
            env_set=env_set,
            env_pass=env_pass,
            limits=read_limits(plugin.table("limits")),
            commands=self._commands(plugin),
        )
        plugin.done()
        if self._sheet.problems:
            raise ManifestError(tuple(sorted(self._sheet.problems, key=lambda found: (found.line, found.column))))
        return manifest

    def _stages(self, plugin: TableReader) -> dict[str, StageManifest]:
        if "stages" not in self._table:
            plugin.require("stages")
        elif self._table["stages"] == {}:
            plugin.refuse("stages", "needs at least one stage")
        return read_stages(plugin)

    def _commands(self, plugin: TableReader) -> Mapping[str, str]:
        commands = read_commands(plugin)
        for name, function in commands.items():
            check_entry(self._sheet, (*_ROOT, "commands", name), function, self._root, self._script)
        return commands

    def _kind(self) -> SourceKind:
        if self._script is not None:
            return SourceKind.SCRIPT
        requirements = (self._root / "requirements.txt").is_file()
        says_dependencies = self._project is not None and {"dependencies", "optional-dependencies"} & set(self._project)
        if requirements and not says_dependencies:
            return SourceKind.REQUIREMENTS
        return SourceKind.BARE if self._project is None else SourceKind.PROJECT

    def _said(self, key: str, plugin: TableReader) -> tuple[tuple[str, ...], object]:
        """Find `name`, `version` or `requires-python` where this kind of plugin says it."""
        own = plugin.raw(key)
        if self._project is not None:
            if own is not None:
                self._sheet.blame_key((*_ROOT, key), f"say it in [project], which has its own `{key}`")
            return ("project", key), self._project.get(key)
        if self._script is not None and key == "requires-python":
            if own is not None:
                self._sheet.blame_key((*_ROOT, key), "say it at the top of the script's block")
            return (key,), self._sheet.document.get(key)
        return (*_ROOT, key), own

    def _name(self, plugin: TableReader) -> str:
        default = self._root.name if self._script is None else self._script.stem
        return self._said_text("name", plugin, default, "is required, a string")

    def _version(self, plugin: TableReader) -> str:
        why = "is required, a string; a dynamic version would run the plugin's code"
        return self._said_text("version", plugin, "0", why)

    def _said_text(self, key: str, plugin: TableReader, default: str, why: str) -> str:
        path, given = self._said(key, plugin)
        if isinstance(given, str) and given:
            return given
        if self._project is not None or given is not None:
            self._sheet.blame_value(path, why if given is None else f"must be a string, not {what(given)}")
        return default

    def _requires_python(self, plugin: TableReader) -> str | None:
        path, wanted = self._said("requires-python", plugin)
        if wanted is None:
            return None
        if not isinstance(wanted, str):
            self._sheet.blame_value(path, f"must be a string, not {what(wanted)}")
            return None
        try:
            judge_specifier(wanted)
        except ValueError as error:
            self._sheet.blame_value(path, str(error))
        return wanted

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
            self._sheet.blame_value(path, f"must be a list of requirements, not {what(written)}")
            return ()
        for index, text in enumerate(written):
            try:
                judge_requirement(text if isinstance(text, str) else repr(text))
            except ValueError as error:
                self._sheet.blame_value((*path, index), str(error))
        return tuple(text for text in written if isinstance(text, str))

    def _available_extras(self) -> frozenset[str]:
        groups = {} if self._project is None else self._project.get("optional-dependencies", {})
        if not isinstance(groups, dict):
            self._sheet.blame_value(("project", "optional-dependencies"), f"must be a table, not {what(groups)}")
            return frozenset()
        for name, requirements in groups.items():
            self._requirements(("project", "optional-dependencies", name), requirements)
        return frozenset(normalised(name) for name in groups)

    def _extras(self, plugin: TableReader, available: frozenset[str]) -> tuple[str, ...]:
        asked = tuple(normalised(extra) for extra in plugin.texts("extras"))
        for index, extra in enumerate(asked):
            if extra not in available:
                have = ", ".join(sorted(available)) or "none"
                message = f"'{extra}' is no extra of [project.optional-dependencies] (it has: {have})"
                self._sheet.blame_value((*_ROOT, "extras", index), message, nearest(extra, available))
        return asked

    def _entry_and_command(self, plugin: TableReader) -> tuple[str | None, tuple[str, ...] | None]:
        command, entry = plugin.maybe_texts("command"), plugin.maybe_text("entry", judge_entry)
        if command is not None:
            if "entry" in self._table:
                self._sheet.blame_key((*_ROOT, "entry"), "a plugin has an entry or a command, not both")
            if not self._table["command"]:
                plugin.refuse("command", "command needs at least a program")
            check_command(self._sheet, (*_ROOT, "command"), command, self._root)
            return None, command
        if entry is None and "entry" in self._table:
            return None, None
        entry = entry or ("plugin:plugin" if self._script is None else f"{self._script.stem}:plugin")
        check_entry(self._sheet, (*_ROOT, "entry"), entry, self._root, self._script)
        return entry, None
