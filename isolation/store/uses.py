"""What each plugin was prepared to, newest first: the roots that collection starts from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from isolation.store.filelock import FileLock, LockMode
from isolation.store.layout import Layout, read_json, write_json
from isolation.store.resolution import digest_of

__all__ = ["KEPT_GENERATIONS", "Use", "Uses", "now"]

KEPT_GENERATIONS = 3
"""How many generations of a plugin can be gone back to."""

RECORD_WAIT_SECONDS = 5.0

_REFRESH_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Use:
    """One generation that was prepared: `plugin` from `source` for `pipeline`, last at `at` (seconds since 1970)."""

    plugin: str
    source: str
    digest: str
    fingerprint: str | None
    pipeline: str
    at: float


class Uses:
    """The records of one store."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def record(self, use: Use) -> None:
        """Put a generation at the front of its plugin's list."""
        name = digest_of([use.source, use.pipeline])
        path = self._layout.root / "uses" / f"{name}.json"
        known = _read(path)
        if known and _is_same(known[0], use) and use.at - known[0].at < _REFRESH_SECONDS:
            return
        with FileLock.take(self._layout.lock(f"use-{name}"), LockMode.EXCLUSIVE, within_seconds=RECORD_WAIT_SECONDS):
            kept = [use, *(old for old in _read(path) if not _is_same(old, use))][:KEPT_GENERATIONS]
            write_json(path, {"uses": [asdict(entry) for entry in kept]})

    def all(self) -> Iterator[Use]:
        """Go through everything that is recorded for plugins whose source is still there."""
        for path in self._layout.entries("uses"):
            for use in _read(path):
                if Path(use.source).exists():
                    yield use

    def forget_vanished(self) -> None:
        """Drop the records of plugins whose source is gone: what nobody can start again needs no way back."""
        for path in self._layout.entries("uses"):
            uses = _read(path)
            if not any(Path(use.source).exists() for use in uses):
                path.unlink(missing_ok=True)


def now() -> float:
    """Return the time that records carry."""
    return time.time()


def _is_same(one: Use, other: Use) -> bool:
    return (one.digest, one.fingerprint) == (other.digest, other.fingerprint)


def _read(path: Path) -> list[Use]:
    record = read_json(path) or {}
    entries = record.get("uses")
    found = [_use(entry) for entry in entries] if isinstance(entries, list) else []
    return [use for use in found if use is not None]


def _use(entry: object) -> Use | None:
    try:
        return Use(**entry) if isinstance(entry, dict) else None
    except TypeError:
        return None
