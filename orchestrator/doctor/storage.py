"""The store: whether it can be written, has room, links packages instead of copying them, and holds nothing stale."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from isolation.store.filelock import FileLock, LockMode, LockTimeout
from isolation.store.store import Store
from orchestrator.doctor.finding import Finding, Level, error, ok, warning
from orchestrator.doctor.places import existing, why_not_writable

__all__ = ["examine_storage"]

FREE_BYTES_WANTED = 1 << 30
"""A few environments with a model library in one of them."""

UNUSED_BYTES_NOTED = 256 << 20
"""Less than this is not worth anybody's attention."""


def examine_storage(store: Path, cache: Path | None) -> Iterator[Finding]:
    """Look at the store's folder and at uv's cache beside it."""
    place = existing(store)
    writable = _writable(store, place)
    yield writable
    yield _space(place)
    if cache is not None:
        yield _one_file_system(cache, place)
    if writable.level is Level.OK and place == store:
        yield from _content(Store(store))


def _content(store: Store) -> Iterator[Finding]:
    with store:
        environments = store.environments()
        broken = [each.fingerprint[:12] for each in environments if not each.whole]
        unused = store.gc(dry_run=True).freed_bytes
        builds = _abandoned_builds(store.root)
    if broken:
        yield warning(
            "broken environments", ", ".join(broken), "`penstock env gc` removes them; the next run builds anew"
        )
    if builds:
        yield warning(
            "abandoned builds", f"{builds} left by a process that was killed", "`penstock env gc` removes them"
        )
    if unused > UNUSED_BYTES_NOTED:
        yield warning(
            "unused", f"{unused / 2**20:.0f} MiB that no plugin needs any more", "`penstock env gc` frees them"
        )
    leased = sum(each.in_use for each in environments)
    yield ok("content", f"{len(environments)} environments, {leased} in use now")


def _abandoned_builds(root: Path) -> int:
    """Builds whose lock nobody holds: a live builder holds its own."""
    left = 0
    for lock in (root / "building").glob("*.lock"):
        try:
            FileLock.take(lock, LockMode.EXCLUSIVE).release()
        except (LockTimeout, FileNotFoundError):
            continue
        left += 1
    return left


def _writable(store: Path, place: Path) -> Finding:
    reason = why_not_writable(place)
    if reason is not None:
        remedy = "make it writable, or name another folder in PENSTOCK_STORE"
        return error("store", f"{store} cannot be written: {reason}", remedy)
    return ok("store", f"{store}{'' if place == store else ' (made on first use)'}")


def _space(place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    if free < FREE_BYTES_WANTED:
        remedy = "`penstock env gc` removes unused environments, `uv cache prune` unused packages"
        return warning("space", f"only {free / 2**20:.0f} MiB are free for the store", remedy)
    return ok("space", f"{free / 2**30:.0f} GiB are free for the store")


def _one_file_system(cache: Path, place: Path) -> Finding:
    if existing(cache).stat().st_dev == place.stat().st_dev:
        return ok("uv cache", f"{cache}, on the store's file system: packages are linked, not copied")
    message = f"{cache} is on another file system than the store: every environment copies its packages"
    return warning("uv cache", message, "set UV_CACHE_DIR or PENSTOCK_STORE so that both are on one file system")
