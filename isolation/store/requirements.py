"""`requirements.txt` and the `pylock.toml` beside it: whether the one still answers the other. Resolves nothing."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from isolation.store.resolution import Resolution

__all__ = ["matches", "requirement_lines", "sealed"]

MAX_NESTED_FILES = 32

_COMMENT = re.compile(r"(^|\s)#.*$")
_NESTED = re.compile(r"(?:-r|--requirement|-c|--constraint)[ =]?\s*(\S+)")
_SEAL = "requirements"


def requirement_lines(file: Path) -> tuple[str, ...]:
    """Read the lines that mean something, those of files named with `-r` and `-c` in their place."""
    return tuple(_lines(file, set()))


def sealed(pylock: str, lines: tuple[str, ...]) -> str:
    """Write into a lock for which requirements it was made; PEP 751 keeps `[tool]` for that."""
    return f'{pylock.rstrip()}\n\n[tool.penstock]\n{_SEAL} = "{_digest(lines)}"\n'


def matches(pylock: str, resolution: Resolution, lines: tuple[str, ...]) -> bool:
    """Tell whether a lock answers these requirements: by our seal, or for a lock made elsewhere by its versions."""
    tool = tomllib.loads(pylock).get("tool", {}).get("penstock", {})
    if _SEAL in tool:
        return bool(tool[_SEAL] == _digest(lines))
    locked = {package.name: package.version for package in resolution.packages}
    return all(_answered(line, locked) for line in lines if not line.startswith("-"))


def _digest(lines: tuple[str, ...]) -> str:
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _answered(line: str, locked: dict[str, str]) -> bool:
    try:
        wanted = Requirement(line.split(" --", 1)[0].rstrip(" \\"))
    except InvalidRequirement:
        return False
    if wanted.marker is not None and not wanted.marker.evaluate():
        return True
    version = locked.get(canonicalize_name(wanted.name))
    return version is not None and wanted.specifier.contains(version, prereleases=True)


def _lines(file: Path, seen: set[Path]) -> Iterator[str]:
    if file in seen or len(seen) >= MAX_NESTED_FILES:
        return
    seen.add(file)
    for raw in file.read_text(encoding="utf-8").splitlines():
        line = _COMMENT.sub("", raw).strip()
        nested = _NESTED.fullmatch(line)
        if nested is not None:
            yield line
            yield from _lines(file.parent / nested[1], seen)
        elif line:
            yield line
