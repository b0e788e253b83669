"""Where a user's store and state are, and which variables say otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["default_state_root", "default_store_root"]


def default_store_root(environment: Mapping[str, str] = os.environ) -> Path:
    """Tell where the store is: PENSTOCK_STORE, else `penstock` in the user's cache folder."""
    return _root(environment.get("PENSTOCK_STORE"), environment.get("XDG_CACHE_HOME"), ".cache")


def default_state_root(environment: Mapping[str, str] = os.environ) -> Path:
    """Tell where what cannot be built again is: PENSTOCK_STATE, else `penstock` in the user's state folder."""
    return _root(environment.get("PENSTOCK_STATE"), environment.get("XDG_STATE_HOME"), ".local/state")


def _root(named: str | None, users: str | None, below_home: str) -> Path:
    if named:
        return Path(named).expanduser().absolute()
    return (Path(users) if users else Path.home() / below_home) / "penstock"
