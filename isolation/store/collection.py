"""Removes what nobody needs. Roots: what a live process holds a lease on, and the last generations of every plugin."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass

from isolation.store.filelock import FileLock, LockMode, LockTimeout
from isolation.store.layout import Layout, read_json, tree_bytes
from isolation.store.uses import Uses

__all__ = ["GcReport", "Removed", "collect"]

_LOCKS_OF = {"environments": ("build",), "snapshots": ("snapshot",)}


@dataclass(frozen=True, slots=True)
class Removed:
    """One entry that was removed, or would be. `kind` is environments or snapshots."""

    kind: str
    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class GcReport:
    """What a collection did. `leftover_bytes` is what killed builds had left behind."""

    removed: tuple[Removed, ...]
    kept: int
    leftover_bytes: int
    dry_run: bool

    @property
    def freed_bytes(self) -> int:
        """Everything that was freed, or would be."""
        return sum(entry.bytes for entry in self.removed) + self.leftover_bytes


def collect(layout: Layout, uses: Uses, *, keep: Collection[str], dry_run: bool) -> GcReport:
    """Remove every entry that is no root. `keep` names more fingerprints and digests to keep."""
    if not dry_run:
        uses.forget_vanished()
    recorded = list(uses.all())
    roots = {*keep, *(use.digest for use in recorded), *(use.fingerprint for use in recorded if use.fingerprint)}
    removed: list[Removed] = []
    kept = 0
    for kind in ("snapshots", "environments"):
        for entry in layout.entries(kind):
            gone = None if entry.name in roots else _remove(layout, kind, entry.name, dry_run=dry_run)
            kept += gone is None
            removed += [] if gone is None else [gone]
    leftovers = 0 if dry_run else layout.collect_leftovers()
    if not dry_run:
        _forget_memos(layout)
    return GcReport(tuple(removed), kept, leftovers, dry_run)


def _remove(layout: Layout, kind: str, name: str, *, dry_run: bool) -> Removed | None:
    """Remove one entry unless a live process uses it."""
    try:
        lease = FileLock.take(layout.lease(name), LockMode.EXCLUSIVE)
    except LockTimeout:
        return None
    with lease:
        entry = layout.root / kind / name
        found = Removed(kind, name, tree_bytes(entry))
        if not dry_run:
            layout.discard(entry)
            for prefix in _LOCKS_OF[kind]:
                with contextlib.suppress(LockTimeout):
                    FileLock.take(layout.lock(f"{prefix}-{name}"), LockMode.EXCLUSIVE).remove()
            lease.remove()
        return found


def _forget_memos(layout: Layout) -> None:
    """Drop memos of environments that are gone; they are made again from the lock."""
    for memo in layout.entries("memo"):
        fingerprint = (read_json(memo) or {}).get("fingerprint")
        if not isinstance(fingerprint, str) or not layout.environment(fingerprint).exists():
            memo.unlink(missing_ok=True)
