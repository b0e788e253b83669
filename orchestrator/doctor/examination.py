"""The whole examination, cheapest things first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.doctor.finding import Finding
from orchestrator.doctor.installer import cache_folder, examine_installer, find_uv
from orchestrator.doctor.machine import examine_machine
from orchestrator.doctor.state import examine_state
from orchestrator.doctor.storage import examine_storage

__all__ = ["examine"]


def examine(store: Path, state: Path, *, online: bool) -> Iterator[Finding]:
    """Look at the machine, at uv, at the store and at the state folder. Only `online` lets anything ask the network."""
    yield from examine_machine()
    uv = find_uv()
    yield from examine_installer(uv, online=online)
    yield from examine_storage(store, cache_folder(uv) if uv is not None else None)
    yield from examine_state(state)
