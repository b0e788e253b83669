"""A finding: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "Level", "error", "ok", "warning"]


class Level(enum.Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` is empty exactly when it is ok."""

    subject: str
    level: Level
    message: str
    remedy: str = ""


def ok(subject: str, message: str) -> Finding:
    """All is well."""
    return Finding(subject, Level.OK, message)


def warning(subject: str, message: str, remedy: str) -> Finding:
    """Penstock works, but not as well as it could."""
    return Finding(subject, Level.WARNING, message, remedy)


def error(subject: str, message: str, remedy: str) -> Finding:
    """Penstock does not work until the remedy is taken."""
    return Finding(subject, Level.ERROR, message, remedy)
