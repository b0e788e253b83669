"""The folders of a store, and the three ways to touch them that survive a kill: write, publish, remove.

environments/FINGERPRINT/     a venv with its seal
snapshots/DIGEST/             plugin/ (the files) and its seal
memo/KEY.json                 from the bytes of a lock to the resolution they mean
interpreters.json             interpreters found, with the stat of each
uses/KEY.json                 what each plugin was prepared to, newest first
holds/KEY.json                what an owner outside the store still needs
leases/NAME, locks/NAME       files that only carry a flock
building/TOKEN[.lock]         work in progress; without a holder of its lock it is rubbish
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from isolation.store.filelock import FileLock, LockMode, LockTimeout

__all__ = ["Layout", "Workplace", "read_json", "remove_tree", "tree_bytes", "write_json"]

_FOLDERS = ("environments", "snapshots", "memo", "uses", "holds", "leases", "locks", "building")


class Layout:
    """Where everything of one store is. Makes the folders, private to their owner."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _FOLDERS:
            (root / name).mkdir(mode=0o700, exist_ok=True)
        if stat.S_IMODE(root.stat().st_mode) & 0o077:
            root.chmod(0o700)

    def environment(self, fingerprint: str) -> Path:
        """Tell where the environment of `fingerprint` is or would be."""
        return self.root / "environments" / fingerprint

    def snapshot(self, digest: str) -> Path:
        """Tell where the snapshot of `digest` is or would be."""
        return self.root / "snapshots" / digest

    def lock(self, name: str) -> Path:
        """Tell which file carries the lock `name`."""
        return self.root / "locks" / name

    def lease(self, name: str) -> Path:
        """Tell which file carries the lease on a fingerprint or digest."""
        return self.root / "leases" / name

    def memo(self, key: str) -> Path:
        """Tell where the memo of `key` is kept."""
        return self.root / "memo" / f"{key}.json"

    def entries(self, folder: str) -> list[Path]:
        """List what is in one folder of the store."""
        return sorted(path for path in (self.root / folder).iterdir() if not path.name.startswith("."))

    def collect_leftovers(self) -> int:
        """Remove the work of builders that are gone. Return how many bytes that freed."""
        freed = 0
        for path in self.entries("building"):
            token = path.name.removesuffix(".lock")
            with contextlib.suppress(LockTimeout, FileNotFoundError):
                lock = FileLock.take(self.root / "building" / f"{token}.lock", LockMode.EXCLUSIVE)
                freed += tree_bytes(self.root / "building" / token)
                remove_tree(self.root / "building" / token)
                lock.remove()
        return freed

    def discard(self, entry: Path) -> None:
        """Take an entry out of the store in one move, then remove it."""
        with Workplace(self) as place, contextlib.suppress(FileNotFoundError):
            make_writable(entry)
            entry.rename(place.path / "discarded")


class Workplace:
    """A private folder in the store, removed at the end, or later by anybody if this process is killed."""

    def __init__(self, layout: Layout) -> None:
        token = secrets.token_hex(8)
        self.path = layout.root / "building" / token
        self._lock = FileLock.take(layout.root / "building" / f"{token}.lock", LockMode.EXCLUSIVE, within_seconds=5.0)

    @property
    def descriptor(self) -> int:
        """The descriptor that keeps the folder; a child that inherits it keeps the folder too."""
        return self._lock.descriptor

    def publish(self, source: Path, target: Path) -> None:
        """Move finished work to its place, all at once. What stands there already is moved away first."""
        if target.exists():
            make_writable(target)
            target.rename(self.path / f"replaced-{secrets.token_hex(4)}")
        source.rename(target)

    def __enter__(self) -> Workplace:
        self.path.mkdir(mode=0o700)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        remove_tree(self.path)
        self._lock.remove()


def read_json(path: Path) -> Mapping[str, object] | None:
    """Read a JSON object; None when it is missing or not one, which both mean: make it again."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write a JSON object so that a reader sees the old one or the new one, and nothing between."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fresh.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")
    fresh.rename(path)


def make_writable(folder: Path) -> None:
    """Undo the seal of a folder itself: a read-only folder cannot be moved by anybody but root."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o700)


def remove_tree(folder: Path) -> None:
    """Remove a tree, sealed or not, that may shrink or grow meanwhile."""
    for path, _, _ in os.walk(folder):
        make_writable(Path(path))
    shutil.rmtree(folder, ignore_errors=True)


def tree_bytes(folder: Path) -> int:
    """Add up the sizes of the files in a tree."""
    return sum(entry.stat(follow_symlinks=False).st_size for entry in _files(str(folder)))


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            else:
                yield entry
