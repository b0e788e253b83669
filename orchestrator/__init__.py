"""Joins plans and workers and meets the world: doors, engine, command line.

A program that is the host itself needs `Orchestrator` of here. It is imported when it is asked for: the command line
starts without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.orchestrator import Orchestrator

__all__ = ["Orchestrator"]


def __getattr__(name: str) -> object:
    if name != "Orchestrator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from orchestrator.orchestrator import Orchestrator

    return Orchestrator
