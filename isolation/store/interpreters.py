"""Which Python a plugin runs on: the host's own where it satisfies, else the nearest installed one. Downloads none."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from isolation.errors import EnvironmentBuildError
from isolation.store.layout import read_json, write_json
from isolation.store.uv import Uv

__all__ = ["Interpreter", "Interpreters", "host_interpreter"]

QUERY_SECONDS = 10.0
"""A shim on a cold disk takes a second; whatever takes longer is no interpreter to rely on."""

MAX_CANDIDATES = 64

_NEUTRAL = Path("/")
"""A folder in which no project pins a version."""

# Runs inside the candidate, which may be any old Python.
_QUESTION = """
import json, os, platform, sys, sysconfig
base = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps({"executable": os.path.realpath(base), "implementation": sys.implementation.name,
    "version": platform.python_version(), "platform": sysconfig.get_platform(),
    "abi": str(sysconfig.get_config_var("SOABI"))}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One interpreter. `executable` is absolute and no shim, `abi` its SOABI."""

    executable: str
    implementation: str
    version: str
    platform: str
    abi: str

    def __str__(self) -> str:
        return f"{self.implementation} {self.version} ({self.executable})"


def host_interpreter() -> Interpreter:
    """Describe the interpreter that runs this process, outside of any venv."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    return Interpreter(
        executable=os.path.realpath(base),
        implementation=sys.implementation.name,
        version=platform.python_version(),
        platform=sysconfig.get_platform(),
        abi=str(sysconfig.get_config_var("SOABI")),
    )


class Interpreters:
    """Chooses interpreters, and keeps in the store what a search has found."""

    def __init__(self, memo: Path, uv: Uv) -> None:
        self._memo = memo
        self._uv = uv
        self._host = host_interpreter()

    def choose(self, plugin: str, requires_python: str | None) -> Interpreter:
        """Return the interpreter for `requires_python`. Raise EnvironmentBuildError when none satisfies it."""
        if requires_python is None or _satisfies(self._host, SpecifierSet(requires_python)):
            return self._host
        wanted = SpecifierSet(requires_python)
        known = self._nearest(self._remembered(), wanted)
        if known is not None:
            return known
        found = self.search()
        chosen = self._nearest(found, wanted)
        if chosen is None:
            have = ", ".join(dict.fromkeys(str(interpreter) for interpreter in (self._host, *found)))
            raise EnvironmentBuildError(
                plugin,
                f"needs Python {requires_python}, and no installed interpreter satisfies that; found: {have}",
                hint="install one (`uv python install VERSION` does), or widen `requires-python`",
            )
        return chosen

    def versions(self) -> Iterator[tuple[str, ...]]:
        """The versions that `choose` can choose from: those that were found before, then all. Writes nothing."""
        for look in (self._remembered, self._found):
            yield tuple(dict.fromkeys(interpreter.version for interpreter in (self._host, *look())))

    def search(self) -> list[Interpreter]:
        """Look for every installed interpreter, and remember what is found."""
        found = self._found()
        remembered = [{**asdict(answer), "stat": _stat(answer.executable)} for answer in found]
        write_json(self._memo, {"interpreters": remembered})
        return found

    def _found(self) -> list[Interpreter]:
        paths = list(dict.fromkeys([*self._listed_by_uv(), *_kept_by_pyenv(self._uv.environment)]))[:MAX_CANDIDATES]
        with ThreadPoolExecutor(4) as threads:
            answers = threads.map(lambda path: _ask(path, self._uv.environment), paths)
        return list({answer.executable: answer for answer in answers if answer is not None}.values())

    def _remembered(self) -> list[Interpreter]:
        memo = read_json(self._memo) or {}
        entries = memo.get("interpreters")
        found = [_remembered(entry) for entry in entries] if isinstance(entries, list) else []
        return [interpreter for interpreter in found if interpreter is not None]

    def _nearest(self, found: Iterable[Interpreter], wanted: SpecifierSet) -> Interpreter | None:
        """Pick the minor version nearest to the host's own, for which wheels are likeliest; of it the newest patch."""
        here = Version(self._host.version)
        fitting = [interpreter for interpreter in found if _satisfies(interpreter, wanted)]

        def distance(interpreter: Interpreter) -> tuple[int, int]:
            version = Version(interpreter.version)
            return abs(version.major - here.major) * 1000 + abs(version.minor - here.minor), -version.micro

        return min(fitting, key=distance, default=None)

    def _listed_by_uv(self) -> list[str]:
        outcome = self._uv.run(["python", "list", "--only-installed", "--output-format", "json"], cwd=_NEUTRAL)
        try:
            listed = json.loads(outcome.output or b"[]")
        except ValueError:
            return []
        return [entry["path"] for entry in listed if isinstance(entry, dict) and isinstance(entry.get("path"), str)]


def _satisfies(interpreter: Interpreter, wanted: SpecifierSet) -> bool:
    return wanted.contains(interpreter.version, prereleases=True)


def _kept_by_pyenv(environment: Mapping[str, str]) -> list[str]:
    """List pyenv's interpreters themselves: its shims answer only for the versions that are switched on."""
    root = Path(environment.get("PYENV_ROOT") or Path(environment.get("HOME", "/")) / ".pyenv")
    try:
        return sorted(str(path) for path in root.glob("versions/*/bin/python3") if path.exists())
    except OSError:
        return []


def _ask(path: str, environment: Mapping[str, str]) -> Interpreter | None:
    """Ask a candidate who it is; None when it cannot answer."""
    try:
        answer = subprocess.run(
            [path, "-I", "-S", "-c", _QUESTION],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=QUERY_SECONDS,
            check=True,
        )
        return _interpreter(json.loads(answer.stdout))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _interpreter(entry: object) -> Interpreter | None:
    names = ("executable", "implementation", "version", "platform", "abi")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in names):
        return None
    # A free-threaded build is another platform to every wheel; nobody gets one who did not ask.
    free_threaded = entry["abi"].split("-")[1:2] == [f"{entry['version'].replace('.', '')[:3]}t"]
    return None if free_threaded else Interpreter(**{name: entry[name] for name in names})


def _remembered(entry: object) -> Interpreter | None:
    """Take an interpreter from the memo if its file is still the one that answered."""
    interpreter = _interpreter(entry)
    if interpreter is None or not isinstance(entry, dict):
        return None
    return interpreter if entry.get("stat") == _stat(interpreter.executable) else None


def _stat(path: str) -> list[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_ino, found.st_size, found.st_mtime_ns]
