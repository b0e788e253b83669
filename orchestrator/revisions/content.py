"""What files and plugins' folders hold, as digests: enough to tell whether somebody changed them. Blocks."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from isolation.regular import opened_regular
from isolation.store.folder import FolderChanged, Unfit, take_picture
from orchestrator.loading import Footprint

__all__ = ["content_of"]


def content_of(footprint: Footprint) -> dict[str, bytes]:
    """A digest for each path, also of what cannot be read. Of a folder only what goes into a snapshot counts."""
    found = {name: _file(Path(name)) for name in footprint.files}
    for name in footprint.plugins:
        path = Path(name)
        if path.is_dir():
            found[name] = _folder(path)
        else:  # one file, with its lock beside it
            found[name] = _file(path)
            found[f"{name}.lock"] = _file(Path(f"{name}.lock"))
    return found


def _file(path: Path) -> bytes:
    try:
        with opened_regular(path) as file:
            return b"no file" if file is None else hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        return str(error.errno).encode()


def _folder(path: Path) -> bytes:
    try:
        return hashlib.sha256(msgspec.json.encode(take_picture(path).identity())).digest()
    except (FolderChanged, Unfit, OSError) as error:
        return repr(error).encode("utf-8", "backslashreplace")
