"""Where the journal of a pipeline file and the memory of its runs are kept: one folder for each file."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["state_folder"]


def state_folder(file: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Below PENSTOCK_STATE, else `penstock` in the user's state folder; named after the file, and told from others of
    that name by its path.
    """
    absolute = file.absolute()
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", absolute.parent.name if absolute.stem == "pipeline" else absolute.stem)
    return _root(environment) / f"{name[:80] or 'pipelines'}-{hashlib.sha256(str(absolute).encode()).hexdigest()[:8]}"


def _root(environment: Mapping[str, str]) -> Path:
    named = environment.get("PENSTOCK_STATE")
    if named:
        return Path(named).expanduser().absolute()
    state = environment.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "penstock"
