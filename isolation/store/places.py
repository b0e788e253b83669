"""Where a user's store and state are, and which variables say otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["default_state_root", "default_store_root"]


def default_store_root(environment: Mapping[str, str] = os.environ) -> Path:
    """Tell where the store is: PENSTOCK_STORE, else `penstock` in the user's cache folder."""
    named = environment.get("PENSTOCK_STORE")
    if named:
        return Path(named).expanduser().absolute()
    cache = environment.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "penstock"


def default_state_root(environment: Mapping[str, str] = os.environ) -> Path:
    """Tell where what cannot be built again is: PENSTOCK_STATE, else `penstock` in the user's state folder."""
    named = environment.get("PENSTOCK_STATE")
    if named:
        return Path(named).expanduser().absolute()
    state = environment.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "penstock"
