"""The TOML that holds a manifest, wherever it stands, with every mistake found in it and its exact place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from isolation.errors import ManifestError, ManifestProblem
from isolation.manifest.places import Place, TomlPlaces
from isolation.regular import opened_regular

__all__ = ["Sheet", "fail", "nearest", "read_text"]

MAX_MANIFEST_BYTES = 1 << 20
"""Far above any manifest, far below what could hurt to parse."""

# The block of PEP 723, "Reference implementation"; a block ends at the last `# ///` of its run of comments.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


class Sheet:
    """One TOML document: its tables, and the problems found in them so far."""

    def __init__(self, file: Path, text: str, *, first_line: int = 1, indent: int = 0) -> None:
        self.file = file
        self.problems: list[ManifestProblem] = []
        self._first_line = first_line
        self._indent = indent
        try:
            self.document: Mapping[str, object] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise self._not_toml(text, str(error)) from None
        self._places = TomlPlaces(text)

    @classmethod
    def of_folder(cls, folder: Path) -> Sheet:
        """Read a folder's `pyproject.toml`."""
        file = folder / "pyproject.toml"
        if not file.is_file():
            raise fail(file, "no such file; a plugin's folder holds a pyproject.toml with [tool.penstock]")
        return cls(file, read_text(file))

    @classmethod
    def of_script(cls, script: Path) -> Sheet:
        """Read the PEP 723 block of a single file."""
        text = read_text(script)
        blocks = [block for block in _BLOCK.finditer(text) if block["type"] == "script"]
        if not blocks:
            raise fail(script, "no `# /// script` block (PEP 723) that holds [tool.penstock]")
        if len(blocks) > 1:
            raise fail(script, "more than one `# /// script` block", line=_line(text, blocks[1].start()))
        lines = blocks[0]["content"].splitlines()
        content = "".join(line[2:] + "\n" for line in lines)
        return cls(script, content, first_line=_line(text, blocks[0].start("content")), indent=2)

    def table(self, *path: str) -> Mapping[str, object] | None:
        """Return the table at `path`, or None where there is none."""
        found: object = self.document
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else None

    def blame_key(self, path: tuple[str | int, ...], message: str, suggestion: str | None = None) -> None:
        """Note a mistake at the key of `path`, or at its nearest parent that is written down."""
        self._blame(self._places.key(path), path, message, suggestion)

    def blame_value(self, path: tuple[str | int, ...], message: str, suggestion: str | None = None) -> None:
        """Note a mistake at the value of `path`."""
        self._blame(self._places.value(path), path, message, suggestion)

    def _blame(self, at: Place, path: tuple[str | int, ...], message: str, suggestion: str | None) -> None:
        dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        line, column = at.line + self._first_line - 1, at.column + self._indent
        self.problems.append(ManifestProblem(str(self.file), line, column, dotted, message, suggestion))

    def _not_toml(self, text: str, message: str) -> ManifestError:
        match = _TOML_PLACE.search(message)
        line, column = text.count("\n") + 1, 1
        if match is not None:
            message = message[: match.start()]
            if match[1]:
                line, column = int(match[1]), int(match[2])
        return fail(self.file, f"not TOML: {message}", line=line + self._first_line - 1, column=column + self._indent)


def fail(file: Path, message: str, *, line: int = 1, column: int = 1, path: str = "") -> ManifestError:
    """Make the error of one mistake that leaves nothing else to read."""
    return ManifestError((ManifestProblem(str(file), line, column, path or file.name, message),))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` was probably meant to be."""
    # Imported here: only mistakes need it.
    import difflib

    names = {name.replace("_", "-").lower(): name for name in known}
    found = difflib.get_close_matches(word.replace("_", "-").lower(), names, n=1, cutoff=0.6)
    return names[found[0]] if found else None


def read_text(file: Path) -> str:
    """Read a small UTF-8 text with `\\n` line ends. Raise ManifestError when it is anything else."""
    try:
        with opened_regular(file) as stream:
            if stream is None:
                raise fail(file, "cannot be read: it is no file")
            data = stream.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise fail(file, f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_MANIFEST_BYTES:
        raise fail(file, f"larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise fail(file, f"not UTF-8: {error.reason}", line=data.count(b"\n", 0, error.start) + 1) from None


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
