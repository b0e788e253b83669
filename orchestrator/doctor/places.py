"""Whether a folder can be written, tried and not guessed."""

from __future__ import annotations

import tempfile
from pathlib import Path

__all__ = ["existing", "why_not_writable"]


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def why_not_writable(folder: Path) -> str | None:
    """Try to write a file that has no name; None where that works."""
    if not folder.is_dir():
        return f"{folder} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as failure:
        return failure.strerror or str(failure)
