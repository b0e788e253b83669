"""What a manifest says about other files of its folder: they must be there and be what it says. Nothing is run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from isolation.errors import ManifestError, ManifestProblem
from isolation.manifest.sheet import Sheet, read_text

__all__ = ["check_command", "check_entry", "read_config_schema"]

KeyPath = tuple[str, ...]


def check_entry(sheet: Sheet, path: KeyPath, entry: str, root: Path, script: Path | None) -> None:
    """Note when the module of `module:object` is no file of the plugin."""
    module = entry.partition(":")[0].partition(".")[0]
    if script is not None:
        if not script.stem.isidentifier():
            sheet.blame_key(path, f"a plugin's file is imported by its name; '{script.stem}' is no module name")
        elif module != script.stem:
            sheet.blame_value(path, f"a single file's entry is in the file itself: '{script.stem}:plugin'")
    elif not ((root / f"{module}.py").is_file() or (root / module).is_dir()):
        sheet.blame_value(path, f"no {module}.py and no package {module} in the plugin's folder")


def check_command(sheet: Sheet, path: KeyPath, command: tuple[str, ...], root: Path) -> None:
    """Note when a program of the plugin's own folder is missing or not executable."""
    program = command[0] if command else ""
    if "/" not in program or program.startswith("/"):
        return
    file = root / program
    if not file.is_file():
        sheet.blame_value((*path, 0), f"no file '{program}' in the plugin's folder")
    elif not file.resolve().is_relative_to(root):
        sheet.blame_value((*path, 0), f"'{program}' is outside the plugin's folder")
    elif not os.access(file, os.X_OK):
        sheet.blame_value((*path, 0), f"'{program}' is not executable; `chmod +x` it")


def read_config_schema(sheet: Sheet, path: KeyPath, written: object, root: Path) -> Mapping[str, object] | None:
    """Read the JSON Schema of `with`, a file of the folder or a table, and note what is wrong with it."""
    if written is None:
        return None
    if isinstance(written, dict):
        return _judged(sheet, path, written)
    if not isinstance(written, str):
        sheet.blame_value(path, "must be the name of a file in the plugin's folder, or a table")
        return None
    file = root / written
    if not file.resolve().is_relative_to(root):
        sheet.blame_value(path, f"'{written}' is outside the plugin's folder")
    elif not file.is_file():
        sheet.blame_value(path, f"no file '{written}' in the plugin's folder")
    else:
        return _judged(sheet, path, _parsed(sheet, file))
    return None


def _parsed(sheet: Sheet, file: Path) -> object:
    shown = str(sheet.file.parent / file.name)
    try:
        return json.loads(read_text(file))
    except json.JSONDecodeError as error:
        problem = ManifestProblem(shown, error.lineno, error.colno, "", f"not JSON: {error.msg}")
    except RecursionError:
        problem = ManifestProblem(shown, 1, 1, "", "not JSON: nested too deeply")
    except ManifestError as error:
        problem = error.problems[0]
    sheet.problems.append(problem)
    return None


def _judged(sheet: Sheet, path: KeyPath, schema: object) -> Mapping[str, object] | None:
    if schema is None:
        return None
    if not isinstance(schema, dict) or schema.get("type") != "object":
        sheet.blame_value(path, 'must be a JSON Schema of an object, with "type": "object" at its top')
        return None
    # Imported here: only plugins that are configured need it.
    import jsonschema_rs

    try:
        jsonschema_rs.validator_for(schema, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        where = "/".join(str(part) for part in getattr(error, "instance_path", ())) or "its top"
        said = getattr(error, "message", str(error))
        sheet.blame_value(path, f"not a valid JSON Schema: at {where}: {said}")
    return schema
