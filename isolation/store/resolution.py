"""A resolved lock as a value, and the fingerprint of the environment it means. Reads `pylock.toml` text (PEP 751).

The fingerprint hangs on what is installed, not on where it comes from or what the plugin is called: two plugins with
equal locks share one environment, and a mirror changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.utils import canonicalize_name
from packaging.version import Version

from isolation.store.interpreters import Interpreter

__all__ = ["NO_PACKAGES", "Package", "Resolution", "UnusableLock", "digest_of", "fingerprint_of", "read_pylock"]

LAYOUT = "penstock-environment-1:copy:relocatable"
"""How environments are made; a change here makes all of them anew."""

_DIGEST_LETTERS = 32


class UnusableLock(Exception):
    """The lock names something that has no hash, or is no PEP 751 document."""


@dataclass(frozen=True, slots=True)
class Package:
    """One locked package. `wheels` and `sdist` are hashes, `algorithm:hex`; `index` is where it was found, or ""."""

    name: str
    version: str
    marker: str
    wheels: tuple[str, ...]
    sdist: str | None
    index: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a lock says to install; `pylock` is the text for uv."""

    packages: tuple[Package, ...]
    pylock: str

    def sources(self, python: str, *, exclude: frozenset[str]) -> tuple[str, ...]:
        """List what would have to be built from source on this platform and version of Python."""
        bare = (package for package in self.packages if not package.wheels and package.name not in exclude)
        return tuple(package.name for package in bare if _applies(package.marker, python))


NO_PACKAGES = Resolution((), "")


def read_pylock(text: str) -> Resolution:
    """Read a `pylock.toml`. Raise UnusableLock when it cannot be installed with hashes."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnusableLock(f"not TOML: {error}") from None
    listed = document.get("packages", [])
    if "lock-version" not in document or not isinstance(listed, list):
        raise UnusableLock("no `lock-version` and `packages` in it (PEP 751)")
    return Resolution(tuple(_package(entry) for entry in listed if isinstance(entry, dict)), text)


def fingerprint_of(
    resolution: Resolution, extras: Sequence[str], sdists: frozenset[str], interpreter: Interpreter
) -> str:
    """Name the environment that `resolution` makes on `interpreter`."""
    # The sdist counts only where it may be used: what cannot be built cannot make a difference.
    packages = sorted(
        [
            package.name,
            package.version,
            package.marker,
            *package.wheels,
            package.sdist if package.name in sdists else "",
        ]
        for package in resolution.packages
    )
    identity = [interpreter.implementation, interpreter.version, interpreter.platform, interpreter.abi]
    return digest_of([LAYOUT, packages, sorted(extras), identity])


def digest_of(value: object) -> str:
    """Hash a value of plain lists, strings and numbers."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LETTERS]


def _applies(marker: str, python: str) -> bool:
    if not marker:
        return True
    version = Version(python)
    here = {"python_version": f"{version.major}.{version.minor}", "python_full_version": python}
    try:
        return Marker(marker).evaluate(here)
    except (InvalidMarker, UndefinedEnvironmentName):
        # uv understands more than we do and judges for itself.
        return False


def _package(entry: Mapping[str, object]) -> Package:
    name = canonicalize_name(str(entry.get("name", "")))
    for kind in ("directory", "vcs"):
        if kind in entry:
            raise UnusableLock(f"'{name}' comes from a {kind} and has no hash")
    wheels, archive = entry.get("wheels"), entry.get("archive")
    if isinstance(archive, dict) and str(archive.get("url", archive.get("path"))).endswith(".whl"):
        wheels, archive = [archive], None
    files = [_hash(name, wheel) for wheel in wheels] if isinstance(wheels, list) else []
    sdist = entry.get("sdist", archive)
    return Package(
        name=name,
        version=str(entry.get("version", "")),
        marker=str(entry.get("marker", "")),
        wheels=tuple(sorted(files)),
        sdist=None if sdist is None else _hash(name, sdist),
        index=str(entry.get("index", "")),
    )


def _hash(name: str, file: object) -> str:
    hashes = file.get("hashes") if isinstance(file, dict) else None
    if not isinstance(hashes, dict) or not hashes:
        raise UnusableLock(f"a file of '{name}' has no hash")
    algorithm = "sha256" if "sha256" in hashes else min(hashes)
    return f"{algorithm}:{hashes[algorithm]}"
