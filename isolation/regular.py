"""Files that others name: where a pipe or a device stands in their place, nobody waits for it and nobody reads it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

__all__ = ["opened_regular"]


@contextmanager
def opened_regular(path: Path) -> Iterator[BufferedReader | None]:
    """Open a file for reading; None for what is no regular file. Raises OSError."""
    with open(path, "rb", opener=_at_once) as file:
        yield file if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for whoever writes into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
