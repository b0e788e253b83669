"""The audit log on the disk: one file that all workers of the plugin append to, each line synced before it counts."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attest.audit import BEGINNING, Checkpoint, digest_of, line_of, read_line
from attest.strictjson import Json, NotJson

__all__ = ["AuditLog", "CannotRecord", "alone"]

_TAIL_BYTES = 64 * 1024
"""What a line may have, and far more than one has whose tenant has a name: the last whole line is within it."""


class CannotRecord(Exception):
    """The decision could not be recorded, so it must not be acted upon."""


@contextmanager
def alone(file: Path) -> Iterator[int]:
    """Open a file, or make it, for this process alone; the lock goes with the descriptor."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


class AuditLog:
    """Appends decisions. Holds nothing open and nothing in memory between them."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def append(self, decision: Mapping[str, Json]) -> Checkpoint:
        """Record a decision: when this returns it is on the disk, and the log goes so far. Raises CannotRecord."""
        try:
            with alone(self._file) as log:
                number, before, whole = _last(log)
                os.ftruncate(log, whole)  # half a line that a crash left was never acted upon
                line = line_of(number + 1, before, decision)
                if len(line) > _TAIL_BYTES:  # no further line could follow it
                    raise CannotRecord(f"a decision of {len(line)} bytes")
                if os.pwrite(log, line, whole) != len(line):
                    raise CannotRecord("the disk is full")
                os.fsync(log)
                return Checkpoint(number + 1, digest_of(line))
        except (OSError, NotJson, ValueError) as error:
            raise CannotRecord(str(error)) from error

    def checkpoint(self) -> Checkpoint:
        """Return how far the log goes, for the host to sign. Raises CannotRecord."""
        try:
            with alone(self._file) as log:
                number, digest, _ = _last(log)
        except (OSError, NotJson) as error:
            raise CannotRecord(str(error)) from error
        return Checkpoint(number, digest)

    def lines(self) -> Iterator[bytes]:
        """Yield every line."""
        if self._file.exists():
            with self._file.open("rb") as log:
                yield from log


def _last(log: int) -> tuple[int, str, int]:
    """Return number and digest of the last whole line, and where it ends."""
    size = os.fstat(log).st_size
    begin = max(0, size - _TAIL_BYTES)
    tail = os.pread(log, size - begin, begin)
    whole = tail.rfind(b"\n") + 1
    if whole == 0:
        if begin:
            raise NotJson("the log has no line ends")
        return 0, BEGINNING, 0
    line = tail[tail.rfind(b"\n", 0, whole - 1) + 1 : whole]
    return int(str(read_line(line)["n"])), digest_of(line), begin + whole
