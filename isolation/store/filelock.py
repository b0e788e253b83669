"""Locks between processes and threads, by `flock`: the kernel frees them when their holder dies, however it dies."""

from __future__ import annotations

import enum
import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

__all__ = ["FileLock", "LockMode", "LockTimeout"]

# Long enough to cost nothing, short enough that nobody notices the wait.
POLL_SECONDS = 0.02


class LockMode(enum.Enum):
    """How a lock is held: together with others that share it, or alone."""

    SHARED = fcntl.LOCK_SH
    EXCLUSIVE = fcntl.LOCK_EX


class LockTimeout(Exception):
    """Somebody else held the lock for longer than we may wait."""


class FileLock:
    """A held lock. Its file may be removed by whoever holds it alone: the next one notices and makes a new one."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def take(
        cls,
        path: Path,
        mode: LockMode,
        *,
        within_seconds: float = 0.0,
        waiting: Callable[[], None] = lambda: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> FileLock:
        """Take the lock or raise LockTimeout. `waiting` is called once when it is not free at once."""
        until = time.monotonic() + within_seconds
        told = False
        while True:
            lock = cls._attempt(path, mode)
            if lock is not None:
                return lock
            if time.monotonic() >= until or stopped():
                raise LockTimeout(str(path))
            if not told:
                waiting()
                told = True
            time.sleep(POLL_SECONDS)

    @classmethod
    def _attempt(cls, path: Path, mode: LockMode) -> FileLock | None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, mode.value | fcntl.LOCK_NB)
            # Between open and flock the file may have been removed; a lock on a file without a name locks nothing.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return cls(path, descriptor)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES, errno.ENOENT}:
                os.close(descriptor)
                raise
        os.close(descriptor)
        return None

    def remove(self) -> None:
        """Remove the file and let go. Only for a lock held alone."""
        self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Let go. A second time does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
