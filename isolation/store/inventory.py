"""What is in a store, for people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isolation.store.filelock import FileLock, LockMode, LockTimeout
from isolation.store.layout import Layout, tree_bytes
from isolation.store.seal import read_seal
from isolation.store.uses import Use, Uses

__all__ = ["EnvironmentInfo", "list_environments"]


@dataclass(frozen=True, slots=True)
class EnvironmentInfo:
    """One environment. `used` is when a plugin was last prepared with it (seconds since 1970, 0: never recorded)."""

    fingerprint: str
    path: Path
    python: str
    packages: tuple[str, ...]
    plugins: tuple[str, ...]
    bytes: int
    created: float
    used: float
    in_use: bool
    whole: bool


def list_environments(layout: Layout, uses: Uses) -> list[EnvironmentInfo]:
    """List the environments, the most recently used first."""
    recorded = list(uses.all())
    found = [_info(layout, path, recorded) for path in layout.entries("environments")]
    return sorted(found, key=lambda info: (-info.used, info.fingerprint))


def _info(layout: Layout, path: Path, recorded: list[Use]) -> EnvironmentInfo:
    facts = read_seal(path)
    known = facts or {}
    packages, created = known.get("packages"), known.get("created")
    mine = [use for use in recorded if use.fingerprint == path.name]
    return EnvironmentInfo(
        fingerprint=path.name,
        path=path,
        python=str(known.get("python", "")),
        packages=tuple(str(name) for name in packages) if isinstance(packages, list) else (),
        plugins=tuple(sorted({use.plugin for use in mine})),
        bytes=tree_bytes(path),
        created=float(created) if isinstance(created, int | float) else 0.0,
        used=max((use.at for use in mine), default=0.0),
        in_use=_is_leased(layout, path.name),
        whole=facts is not None,
    )


def _is_leased(layout: Layout, name: str) -> bool:
    try:
        FileLock.take(layout.lease(name), LockMode.EXCLUSIVE).release()
    except LockTimeout:
        return True
    return False
