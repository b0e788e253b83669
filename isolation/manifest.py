"""A plugin as its author describes it, read as data. Never imports plugin code and knows no hook by name."""

from __future__ import annotations

from pathlib import Path

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

__all__ = [
    "Effects",
    "HookRule",
    "Limits",
    "Manifest",
    "Permissions",
    "Reload",
    "SourceKind",
    "StageManifest",
    "read_manifest",
]


def read_manifest(source: Path) -> Manifest:
    """Read the manifest of a plugin folder or of a single file. Raise ManifestError with every mistake in it."""
    # Imported here: most who need the values never read a manifest.
    from isolation.manifest_reading import read

    return read(source)
