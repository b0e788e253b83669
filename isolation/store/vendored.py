"""Folders of wheels beside the index: a lock's files are taken from there when they are there. Hashes still decide."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from isolation.manifest.values import Manifest

__all__ = ["VENDOR_FOLDER", "from_folders", "wheel_folders"]

VENDOR_FOLDER = "wheels"
"""In the plugin's folder; it is no part of the snapshot."""

_FILE = re.compile(r'\burl = "([^"\\]*/)?([^"\\/]+\.(?:whl|tar\.gz|zip))"')


def wheel_folders(manifest: Manifest, environment: Mapping[str, str]) -> list[Path]:
    """List the folders to look into: the plugin's own, then those of UV_FIND_LINKS that are folders."""
    named = [Path(name) for name in environment.get("UV_FIND_LINKS", "").split(",") if name and "://" not in name]
    own = [] if manifest.script is not None else [manifest.root / VENDOR_FOLDER]
    return [folder.resolve() for folder in (*own, *named) if folder.is_dir()]


def from_folders(pylock: str, folders: list[Path]) -> str:
    """Let a lock fetch from `folders` the files that are there."""

    def local(match: re.Match[str]) -> str:
        name = unquote(match[2])
        found = next((folder / name for folder in folders if (folder / name).is_file()), None)
        return match[0] if found is None else f'url = "{found.as_uri()}"'

    return _FILE.sub(local, pylock) if folders else pylock
