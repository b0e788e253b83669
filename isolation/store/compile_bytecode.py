"""Compiles the modules of one environment, then takes the right to write from it. Run by path with its interpreter.

Needs the standard library only, of any Python 3. Ends when its standard input closes, which happens when the process
that started it ends in whatever way; what is compiled so far stays and is not compiled again. Bytecode files are
written whole or not at all.

    python -I -S compile_bytecode.py ENVIRONMENT LEASE LOCKFILE
"""

from __future__ import annotations

import compileall
import fcntl
import os
import select
import stat
import sys
import time
from collections.abc import Iterator

LONGEST_SECONDS = 900.0
TURN_SECONDS = 0.2
MARK = "penstock-compiled"


def main(environment: str, lease: str, lockfile: str) -> int:
    """Compile everything, then seal. Return 0 when both are done."""
    os.nice(19)
    until = time.monotonic() + LONGEST_SECONDS
    # Without a lease of its own, a process that outlives a killed host for a moment would go on writing into an
    # environment that a collection has just removed, and so bring back a piece of it.
    leased = os.open(lease, os.O_RDWR)
    fcntl.flock(leased, fcntl.LOCK_SH)
    if not os.path.samestat(os.fstat(leased), os.stat(lease)):
        return 2
    lock = os.open(lockfile, os.O_RDWR | os.O_CREAT, 0o600)
    while not taken(lock):
        if abandoned(TURN_SECONDS) or time.monotonic() > until:
            return 3
    if os.path.exists(os.path.join(environment, MARK)):
        return 0
    identity = os.stat(environment)
    for path in modules(environment):
        if abandoned() or time.monotonic() > until:
            return 4
        compileall.compile_file(path, quiet=2)
    if not os.path.samestat(identity, os.stat(environment)):
        return 5
    seal(environment)
    return 0


def modules(environment: str) -> Iterator[str]:
    """List the modules below `lib`."""
    for folder, folders, files in os.walk(os.path.join(environment, "lib")):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            if name.endswith(".py"):
                yield os.path.join(folder, name)


def taken(lock: int) -> bool:
    """Try to become the one process that compiles in this store."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def abandoned(within_seconds: float = 0.0) -> bool:
    """Tell whether the process that started this one is gone or has closed the pipe."""
    return bool(select.select([0], [], [], within_seconds)[0])


def seal(environment: str) -> None:
    """Take the right to write from everything; the mark goes in before its folder is closed."""
    with open(os.path.join(environment, MARK), "w"):
        pass
    for folder, _, files in os.walk(environment, topdown=False):
        for name in (*files, ""):
            path = os.path.join(folder, name) if name else folder
            mode = os.lstat(path).st_mode
            if not stat.S_ISLNK(mode):
                os.chmod(path, stat.S_IMODE(mode) & ~0o222)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
