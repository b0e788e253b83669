"""A plugin as its author describes it, read as data. Never imports plugin code and knows no hook by name."""

from isolation.manifest.reading import read as read_manifest
from isolation.manifest.values import (
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
