"""A plugin's files as one consistent picture: every file with mode and hash, taken while nothing changed."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from isolation.store.vendored import VENDOR_FOLDER

__all__ = [
    "MAX_FILES",
    "Entry",
    "FolderChanged",
    "Picture",
    "Unfit",
    "copy_file",
    "is_ignored",
    "is_left_out",
    "stamp",
    "take_picture",
]

MAX_FILES = 10_000
MAX_BYTES = 256 * 2**20
"""A plugin is code and small data; models and the like belong into a data folder or a dependency."""

_CHUNK_BYTES = 1 << 20

# What no worker reads: version control, environments, caches, what editors drop. `tests` and the vendored wheels only
# at the top: deeper down the names may mean anything.
_IGNORED = frozenset(
    {".git", ".hg", ".svn", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
    | {".tox", ".nox", ".idea", ".vscode", ".DS_Store", ".coverage"}
)
_IGNORED_PATTERNS = re.compile(
    "|".join(map(fnmatch.translate, ("*.pyc", "*~", "*.swp", "*.swx", ".#*", "#*#", "*.egg-info")))
)
_IGNORED_AT_TOP = frozenset({"tests", VENDOR_FOLDER})


class FolderChanged(Exception):
    """A file changed while it was read."""


class Unfit(Exception):
    """The folder holds something that cannot be part of a snapshot."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or link. `link` is the target of a symbolic link; `stamp` is what the file system says of it now."""

    name: str
    executable: bool
    content: str
    link: str | None
    stamp: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """All entries of a folder, in order of their names."""

    root: Path
    entries: tuple[Entry, ...]

    def identity(self) -> list[list[object]]:
        """Say what makes this picture differ from another."""
        return [[entry.name, entry.executable, entry.content, entry.link] for entry in self.entries]


def take_picture(root: Path, only: tuple[str, ...] | None = None) -> Picture:
    """Read a folder, or only some of its files.

    Raise FolderChanged when it did not hold still, Unfit when it holds what cannot be kept.
    """
    entries = tuple(_entry(root, name, found) for name, found in _walk(root, only))
    again = {name: stamp(found) for name, found in _walk(root, only)}
    if again != {entry.name: entry.stamp for entry in entries}:
        raise FolderChanged
    return Picture(root, entries)


def copy_file(root: Path, entry: Entry, target: Path) -> None:
    """Copy one entry. Raise FolderChanged when it is no longer what the picture shows."""
    if entry.link is not None:
        target.symlink_to(entry.link)
        return
    hashed = hashlib.sha256()
    with _opened(root / entry.name) as source, target.open("xb") as sink:
        while chunk := source.read(_CHUNK_BYTES):
            hashed.update(chunk)
            sink.write(chunk)
    if hashed.hexdigest() != entry.content:
        raise FolderChanged
    target.chmod(0o555 if entry.executable else 0o444)


def _walk(root: Path, only: tuple[str, ...] | None) -> list[tuple[str, os.stat_result]]:
    """List files and links with their stat, sorted; check count and size."""
    try:
        names = _names(root, "") if only is None else iter(only)
        found = sorted((name, os.lstat(root / name)) for name in names)
    except FileNotFoundError:
        raise FolderChanged from None
    if len(found) > MAX_FILES:
        raise Unfit(f"it has more than {MAX_FILES} files")
    total = sum(entry.st_size for _, entry in found)
    if total > MAX_BYTES:
        largest = max(found, key=lambda pair: pair[1].st_size)[0]
        raise Unfit(f"it is larger than {MAX_BYTES >> 20} MiB; its largest file is {largest}")
    return found


def _names(root: Path, prefix: str) -> Iterator[str]:
    with os.scandir(root / prefix) as entries:
        for entry in entries:
            if is_left_out(entry, at_top=not prefix):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _names(root, f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}"


def is_left_out(entry: os.DirEntry[str], *, at_top: bool) -> bool:
    """Whether a file or folder is no part of a snapshot: by its name, or because it is an environment."""
    if is_ignored(entry.name, at_top=at_top):
        return True
    return entry.is_dir(follow_symlinks=False) and os.path.lexists(f"{entry.path}/pyvenv.cfg")


def is_ignored(name: str, *, at_top: bool) -> bool:
    """Whether what bears this name is no part of a snapshot. `at_top` is directly in the plugin's folder."""
    if name in _IGNORED or (at_top and name in _IGNORED_AT_TOP):
        return True
    return _IGNORED_PATTERNS.match(name) is not None


def _entry(root: Path, name: str, found: os.stat_result) -> Entry:
    if stat.S_ISLNK(found.st_mode):
        return Entry(name, False, "", _link(root, name), stamp(found))
    if not stat.S_ISREG(found.st_mode):
        raise Unfit(f"'{name}' is neither a file, a folder nor a link")
    hashed = hashlib.sha256()
    with _opened(root / name) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hashed.update(chunk)
    return Entry(name, bool(found.st_mode & 0o111), hashed.hexdigest(), None, stamp(found))


def _link(root: Path, name: str) -> str:
    """Return the target of a link as it must read in a copy of the folder."""
    try:
        target = (root / name).resolve(strict=True)
    except (OSError, RuntimeError):
        raise Unfit(f"the link '{name}' leads nowhere") from None
    if not target.is_relative_to(root):
        raise Unfit(f"the link '{name}' leaves the plugin's folder")
    inner = target.relative_to(root).parts
    if any(is_ignored(part, at_top=index == 0) for index, part in enumerate(inner)):
        raise Unfit(f"the link '{name}' leads to '{'/'.join(inner)}', which is no part of a snapshot")
    return os.path.relpath(target, (root / name).parent.resolve())


def _opened(path: Path) -> BinaryIO:
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except FileNotFoundError:
        raise FolderChanged from None
    except OSError as error:
        raise Unfit(f"'{path.name}' cannot be read: {error.strerror}") from None


def stamp(found: os.stat_result) -> tuple[int, ...]:
    """All that the file system says of a file's state; the last is the time when that changed, in nanoseconds."""
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns
