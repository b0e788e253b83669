"""What the store would use of a plugin, without having made any of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isolation.store.interpreters import Interpreter

__all__ = ["Preview"]


@dataclass(frozen=True, slots=True)
class Preview:
    """A generation as `Store.prepare` would make it. `fingerprint` is None where it needs no environment.

    `locked` has the version of each distribution that its lock names; several of one name, for several platforms, are
    joined by commas. `environment_ready` is true, too, where no environment is needed.
    """

    plugin: str
    fingerprint: str | None
    digest: str
    environment_ready: bool
    snapshot_ready: bool
    locked: Mapping[str, str]
    interpreter: Interpreter
