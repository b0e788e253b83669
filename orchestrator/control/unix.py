"""Unix sockets for one user: how they are bound and reached, and who is at the other end."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["address_of", "bound", "is_ours", "uid_of"]

MAX_SOCKET_PATH_BYTES = 100
"""What every Unix takes, and a little less: Linux 107, macOS 103."""

_LOCAL_PEERCRED = 1
"""macOS, sys/un.h, on level 0; a `struct xucred` begins with its version and the uid."""


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """The address of a socket. A Unix socket's path is short, a folder's may be long: go through its descriptor.

    Raises OSError.
    """
    if len(os.fsencode(path)) < MAX_SOCKET_PATH_BYTES or not os.path.isdir("/proc/self/fd"):
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        address = f"/proc/self/fd/{descriptor}/{path.name}"
        if len(os.fsencode(address)) > MAX_SOCKET_PATH_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))
        yield address
    finally:
        os.close(descriptor)


def bound(path: Path) -> socket.socket:
    """A socket at `path`, where nothing may be, for its owner alone. Nobody can connect before it listens.

    Raises OSError.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(made.close)
        with address_of(path) as address:
            made.bind(address)
            os.chmod(address, 0o600)
        undo.pop_all()
    return made


def uid_of(peer: socket.socket) -> int | None:
    """The user at the other end; None where the system does not say."""
    if hasattr(socket, "SO_PEERCRED"):
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[1])
    if sys.platform == "darwin":
        return int(struct.unpack("=II", peer.getsockopt(0, _LOCAL_PEERCRED, 128)[:8])[1])
    return None


def is_ours(uid: int | None) -> bool:
    """Whether that is our own user, or root. Where nobody knows, the mode of the socket has decided."""
    return uid in (None, 0, os.geteuid())
