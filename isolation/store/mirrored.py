"""A mirror in place of the index that a lock was made with: the same versions and hashes, asked for by name."""

from __future__ import annotations

from collections.abc import Mapping

from isolation.store.resolution import Package, Resolution

__all__ = ["for_mirror"]


def for_mirror(resolution: Resolution, environment: Mapping[str, str]) -> str | None:
    """Return hashed requirements when the user's index is another than the lock's; None when the lock will do."""
    mirror = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL")
    if not mirror or not all(package.index for package in resolution.packages):
        return None
    if all(_plain(package.index) == _plain(mirror) for package in resolution.packages):
        return None
    return "\n".join(_line(package) for package in resolution.packages) + "\n"


def _line(package: Package) -> str:
    marker = f" ; {package.marker}" if package.marker else ""
    files = [*package.wheels, *([package.sdist] if package.sdist else [])]
    return f"{package.name}=={package.version}{marker} " + " ".join(f"--hash={digest}" for digest in files)


def _plain(url: str) -> str:
    return url.rstrip("/").rsplit("@", 1)[-1].removeprefix("https://").removeprefix("http://")
