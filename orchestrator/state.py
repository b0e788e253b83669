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

__all__ = ["HOST_LOCK", "OTHERS_MAY", "RING_FILE", "hold_state", "state_folder", "state_root"]

log = logging.getLogger("penstock.state")

RING_FILE = "runs.jsonl"
"""What the last host remembered of its runs."""

HOST_LOCK = "host.lock"
"""Held by the host that is found by commands."""

OTHERS_MAY = 0o077


def state_folder(file: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Below PENSTOCK_STATE, else `penstock` in the user's state folder; named after the file, and told from others of
    that name by its path. A link in the path is not followed: a deployment may move it to its next release.
    """
    absolute = Path(os.path.abspath(file))
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", absolute.parent.name if absolute.stem == "pipeline" else absolute.stem)
    digest = hashlib.sha256(os.fsencode(absolute)).hexdigest()[:8]
    return state_root(environment) / f"{name[:80] or 'pipelines'}-{digest}"


def hold_state(folder: Path) -> FileLock | None:
    """Hold a state folder for this process, made where it is not there; None where that cannot be: another host holds
    it, it cannot be written, or others may enter it. Calls are answered all the same; commands find the other host, or
    none.
    """
    level = logging.WARNING
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & OTHERS_MAY:
            return FileLock.take(folder / HOST_LOCK, LockMode.EXCLUSIVE)
        reason = f"others than its owner may enter it (mode {mode:04o})"
    except LockTimeout:
        level, reason = logging.INFO, "another host of this file holds it, and takes its commands"
    except OSError as error:
        reason = error.strerror or str(error)
    log.log(level, "state.not_held", extra={"where": str(folder), "reason": reason})
    return None


def state_root(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of all files' folders."""
    named = environment.get("PENSTOCK_STATE")
    if named:
        return Path(named).expanduser().absolute()
    state = environment.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "penstock"
