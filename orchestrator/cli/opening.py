"""Puts a loaded file into service for one command, its progress shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.store import Store, default_store_root
from orchestrator.orchestrator import Orchestrator

if TYPE_CHECKING:
    from orchestrator.cli.progress import Bars
    from orchestrator.loading import Loaded

__all__ = ["opened"]


def opened(loaded: Loaded, bars: Bars, *, locked: bool, offline: bool) -> Orchestrator:
    """An orchestrator to enter; its environments come from the user's store."""
    store = Store(default_store_root(), offline=offline, locked=locked)
    return Orchestrator(loaded, store, report=bars.started)
