"""One holder per key, among all processes and threads that use one directory. The kernel lets go when a holder dies."""

from __future__ import annotations

import fcntl
import os
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KeyLock", "path_of", "sweep"]

POLL_SECONDS = 0.01
"""Between two tries: a file lock can be waited for without a bound or not at all."""
SUFFIX = ".lock"


def path_of(folder: Path, key: str) -> Path:
    """Where the lock of `key` is."""
    from hashlib import sha256

    return folder / (sha256(key.encode()).hexdigest() + SUFFIX)


class KeyLock:
    """A lock: a file that is there while somebody holds it."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def take(self, within: float) -> bool:
        """Try for `within` seconds, once at least; say whether it is held now."""
        until = monotonic() + within
        while not (held := self._try()) and monotonic() < until:
            sleep(POLL_SECONDS)
        return held

    def release(self) -> None:
        """Let go; harmless when it is not held."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        # The file goes first: a fork of this process may keep its lock of it, which is worth nothing then.
        try:
            os.unlink(self._path)
        finally:
            os.close(descriptor)

    def _try(self) -> bool:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            if _is_at(descriptor, self._path):
                self._descriptor = descriptor
                return True
            os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what holders that died have left behind."""
    for path in folder.glob("*" + SUFFIX):
        lock = KeyLock(path)
        lock.take(0.0)
        lock.release()


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the file that was locked still has its name: the holder before has removed it when it let go."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
