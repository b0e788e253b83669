"""What the store tells while it works. Drawing it is the business of whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["BuildEvent", "Report", "unheard"]


@dataclass(frozen=True, slots=True)
class BuildEvent:
    """One moment of one plugin's preparation.

    `phase` is one of interpreter, lock, waiting, resolve, environment, install, source, snapshot, found, ready.
    `fraction` runs from 0 to 1 over the whole preparation; None where nobody can tell.
    """

    plugin: str
    phase: str
    detail: str = ""
    fraction: float | None = None


Report = Callable[[BuildEvent], None]


def unheard(event: BuildEvent) -> None:
    """Listen to nothing."""
