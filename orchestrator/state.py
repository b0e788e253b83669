"""Where the journal of a pipeline file and the memory of its runs are kept: one folder for each file."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from isolation.store.filelock import FileLock, LockMode, LockTimeout
from isolation.store.places import default_state_root

__all__ = [
    "HISTORY_FOLDER",
    "HOST_LOCK",
    "OTHERS_MAY",
    "RING_FILE",
    "StateHeld",
    "hold_state",
    "holder_of",
    "sign",
    "state_folder",
    "take_state",
]

log = logging.getLogger("penstock.state")

RING_FILE = "runs.jsonl"
"""What the last host remembered of its runs."""

HISTORY_FOLDER = "revisions"
"""What was changed when, and the plan of every revision."""

HOST_LOCK = "host.lock"
"""Held by the host that is found by commands."""

OTHERS_MAY = 0o077

MAX_PID_CHARACTERS = 20

HELD_HINT = "one host serves a file at a time; stop the other one, or name another folder with --state"


class StateHeld(Exception):
    """The state folder is not to be had: another host holds it, or others than its owner may enter it."""

    code = "penstock.state_held"

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def state_folder(file: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Below PENSTOCK_STATE, else `penstock` in the user's state folder; named after the file, and told from others of
    that name by its path. A link in the path is not followed: a deployment may move it to its next release.
    """
    absolute = Path(os.path.abspath(file))
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", absolute.parent.name if absolute.stem == "pipeline" else absolute.stem)
    digest = hashlib.sha256(os.fsencode(absolute)).hexdigest()[:8]
    return default_state_root(environment) / f"{name[:80] or 'pipelines'}-{digest}"


def take_state(folder: Path) -> FileLock:
    """Hold a state folder for this process, made where it is not there. Raises StateHeld and OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & OTHERS_MAY:
        hint = f"`chmod 700 {folder}` if it is yours alone, or name another folder with --state"
        raise StateHeld(f"others than its owner may enter {folder} (mode {mode:04o})", hint)
    try:
        lock = FileLock.take(folder / HOST_LOCK, LockMode.EXCLUSIVE)
    except LockTimeout as timeout:
        raise StateHeld(f"{folder} is held by {holder_of(folder / HOST_LOCK)}", HELD_HINT) from timeout
    sign(lock)
    return lock


def sign(lock: FileLock) -> None:
    """Write into a lock's file who holds it."""
    os.ftruncate(lock.descriptor, 0)
    os.pwrite(lock.descriptor, f"{os.getpid()}\n".encode(), 0)


def holder_of(lock: Path) -> str:
    """Who holds a lock that is held, in words."""
    try:
        with lock.open("rb") as stream:
            pid = stream.read(MAX_PID_CHARACTERS).strip().decode("ascii", "replace")
    except OSError:
        pid = ""
    return f"process {pid}" if pid.isdigit() else "another process"


def hold_state(folder: Path) -> FileLock | None:
    """Hold a state folder for this process, made where it is not there; None where that cannot be: another host holds
    it, it cannot be written, or others may enter it. Calls are answered all the same; commands find the other host, or
    none.
    """
    level = logging.WARNING
    try:
        return take_state(folder)
    except StateHeld as error:
        level, reason = logging.INFO if isinstance(error.__cause__, LockTimeout) else logging.WARNING, str(error)
    except OSError as error:
        reason = error.strerror or str(error)
    log.log(level, "state.not_held", extra={"where": str(folder), "reason": reason})
    return None
