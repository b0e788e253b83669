"""The socket's place in the file system: taken by one host at a time, for its owner alone."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from isolation.store.filelock import FileLock, LockMode, LockTimeout
from orchestrator.control.unix import address_of, bound
from orchestrator.state import holder_of, sign

__all__ = ["HTTP_SOCKET", "SocketHeld", "taken"]

HTTP_SOCKET = "serve.sock"
"""In the state folder, where no other place is named."""

CONNECT_SECONDS = 1.0
"""A living listener lets the kernel answer at once."""


class SocketHeld(Exception):
    """The place of the HTTP socket is not free."""

    code = "penstock.socket_held"
    hint = "stop what serves there, or name another place with --socket"


@contextmanager
def taken(path: Path) -> Iterator[socket.socket]:
    """A socket bound at `path` while inside. Raises SocketHeld, and OSError where nothing can be made there.

    Who holds the lock beside it is the host that serves there; a socket that is left without one is a dead host's.
    """
    beside = path.with_name(f"{path.name}.lock")
    try:
        lock = FileLock.take(beside, LockMode.EXCLUSIVE)
    except LockTimeout:
        raise SocketHeld(f"{path} is served by {holder_of(beside)}") from None
    try:
        sign(lock)
        _clear(path)
        with closing(bound(path)) as listener:
            try:
                yield listener
            finally:
                path.unlink(missing_ok=True)
    finally:
        lock.remove()


def _clear(path: Path) -> None:
    """Remove what a dead host left."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketHeld(f"{path} is there already, and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial, address_of(path) as address:
        trial.settimeout(CONNECT_SECONDS)
        try:
            trial.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except TimeoutError:
            pass
    raise SocketHeld(f"{path} is served by a program that is no host of ours")
