"""What the store would use of a plugin, without having made any of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Preview", "versions_of"]


@dataclass(frozen=True, slots=True)
class Preview:
    """A generation as `Store.prepare` makes it. `fingerprint` is None where it needs no environment.

    `python` is where its interpreter is or would be. `locked` has the version of each distribution of its lock; several
    of one name, for several platforms, are joined by commas. `environment_ready` is true, too, where none is needed.
    """

    plugin: str
    fingerprint: str | None
    digest: str
    python: Path
    environment_ready: bool
    snapshot_ready: bool
    locked: Mapping[str, str]


def versions_of(packages: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The versions of every name, from pairs of both."""
    found: dict[str, set[str]] = {}
    for name, version in packages:
        found.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(versions)) for name, versions in sorted(found.items())}
