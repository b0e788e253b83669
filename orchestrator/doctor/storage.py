"""The store: whether it can be written, has room, links packages instead of copying them, and holds nothing stale."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.doctor.finding import Finding, error, ok, warning

__all__ = ["examine_storage"]

FREE_BYTES_WANTED = 1 << 30
"""A few environments with a model library in one of them."""


def examine_storage(store: Path, cache: Path | None) -> Iterator[Finding]:
    """Look at the store's folder and at uv's cache beside it."""
    place = _existing(store)
    writable = _writable(store, place)
    yield writable
    yield _space(place)
    if cache is not None:
        yield _one_file_system(cache, place)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _writable(store: Path, place: Path) -> Finding:
    remedy = "make it writable, or name another folder in PENSTOCK_STORE"
    if not place.is_dir():
        return error("store", f"{place} is not a folder", remedy)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as failure:
        return error("store", f"{store} cannot be written: {failure.strerror}", remedy)
    return ok("store", f"{store}{'' if place == store else ' (made on first use)'}")


def _space(place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    if free < FREE_BYTES_WANTED:
        remedy = "`penstock env gc` removes unused environments, `uv cache prune` unused packages"
        return warning("space", f"only {free / 2**20:.0f} MiB are free for the store", remedy)
    return ok("space", f"{free / 2**30:.0f} GiB are free for the store")


def _one_file_system(cache: Path, place: Path) -> Finding:
    if _existing(cache).stat().st_dev == place.stat().st_dev:
        return ok("uv cache", f"{cache}, on the store's file system: packages are linked, not copied")
    message = f"{cache} is on another file system than the store: every environment copies its packages"
    return warning("uv cache", message, "set UV_CACHE_DIR or PENSTOCK_STORE so that both are on one file system")
