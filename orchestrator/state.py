"""Where the journal of a pipeline file and the memory of its runs are kept: one folder for each file."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from isolation.store.filelock import FileLock, LockMode, LockTimeout

__all__ = ["RING_FILE", "hold_state", "state_folder"]

RING_FILE = "runs.jsonl"
"""What the last host remembered of its runs."""


def state_folder(file: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Below PENSTOCK_STATE, else `penstock` in the user's state folder; named after the file, and told from others of
    that name by its path.
    """
    absolute = file.absolute()
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", absolute.parent.name if absolute.stem == "pipeline" else absolute.stem)
    return _root(environment) / f"{name[:80] or 'pipelines'}-{hashlib.sha256(str(absolute).encode()).hexdigest()[:8]}"


def hold_state(folder: Path) -> FileLock | None:
    """Hold a state folder for this process, made where it is not there; None where that cannot be: another host holds
    it, or it cannot be written. Calls are answered all the same, and commands find the other host.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock.take(folder / "host.lock", LockMode.EXCLUSIVE)
    except (LockTimeout, OSError):
        return None


def _root(environment: Mapping[str, str]) -> Path:
    named = environment.get("PENSTOCK_STATE")
    if named:
        return Path(named).expanduser().absolute()
    state = environment.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "penstock"
