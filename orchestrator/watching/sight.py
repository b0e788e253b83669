"""What watched places look like at one moment, and on which folders it depends. Only looks; never waits."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from isolation.store.folder import MAX_FILES, is_ignored, is_left_out, stamp

__all__ = ["TICK_NS", "Places", "Shown", "Sight", "difference", "look"]

TICK_NS = 20_000_000
"""File systems take their times from a clock that ticks, every 4 ms or 10 ms, so that two writes may bear one time."""

SKEW_NS = 1_000_000_000
"""A file younger than now by more than this has its time from another clock, and will not come of age."""

MAX_LINKS = 40
"""What Linux follows in one path."""

MAX_WALKED = 2 * MAX_FILES
"""A plugin's folder that holds more is refused anyway, until it holds less."""

# What says that there is nothing to read at a path. Anything else, as "too many open files", says nothing about it.
_NOTHING_THERE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EACCES, errno.EPERM}
)

Stamp = tuple[int, ...]

_CHANGED_NS = 4
"""Where a file's stamp has the time when anything about it changed."""

_NOTHING: Stamp = ()
_FOLDER: Stamp = (stat.S_IFDIR,)
_FOLLOWED_IN_VAIN = "followed in vain"


@dataclass(frozen=True, slots=True)
class Places:
    """What is watched: files, and the folders of plugins with all of them that goes into a snapshot.

    They need not exist, and links may lead to them.
    """

    files: frozenset[Path] = frozenset()
    folders: frozenset[Path] = frozenset()


@dataclass(frozen=True, slots=True)
class Shown:
    """What one place shows: a stamp for each name in it, the place itself being "". `touched_ns` is its newest time."""

    stamps: Mapping[str, Stamp]
    touched_ns: int

    @property
    def is_missing(self) -> bool:
        """Whether there is nothing to read."""
        return self.stamps[""] == _NOTHING


@dataclass(frozen=True, slots=True)
class Sight:
    """What all places show.

    `folders` are those whose entries decide about it, parents first, with device and inode. `is_young`: something
    changed within the last tick, so that the next change might bear the same stamp.
    """

    shown: Mapping[Path, Shown]
    folders: Mapping[str, tuple[int, int]]
    is_young: bool
    _ways: Mapping[str, frozenset[str]]
    _insides: Mapping[str, bool]

    def concerns(self, path: str) -> bool:
        """Whether a change at a path may change what the places show. It is below one of `folders`, or one itself."""
        folder, name = os.path.split(path)
        if path in self.folders or name in self._ways.get(folder, ()):
            return True
        return folder in self._insides and not is_ignored(name, at_top=self._insides[folder])


def difference(told: Mapping[Path, Shown], seen: Mapping[Path, Shown], since_ns: int) -> frozenset[Path]:
    """Say what changed. A place that was not watched before did if it was touched since; give or take a tick."""
    changed = set[Path]()
    for place, now in seen.items():
        before = told.get(place)
        names = _touched(now, since_ns - TICK_NS) if before is None else _unlike(before.stamps, now.stamps)
        changed |= {place / name for name in names}
    return frozenset(changed)


def _unlike(before: Mapping[str, Stamp], now: Mapping[str, Stamp]) -> set[str]:
    return {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}


def _touched(shown: Shown, since_ns: int) -> set[str]:
    """Names of what was touched since; the place itself where only something that is gone, or leads here, was."""
    names = {
        name for name, found in shown.stamps.items() if len(found) > _CHANGED_NS and found[_CHANGED_NS] >= since_ns
    }
    return names or ({""} if shown.touched_ns >= since_ns else set())


def look(places: Places, now_ns: int, *, max_walked: int = MAX_WALKED) -> Sight:
    """Look at every place. Raises OSError where that is impossible now, though something may be there."""
    looking = _Looking(now_ns, max_walked)
    shown = {place: looking.file(place) for place in sorted(places.files - places.folders)}
    shown |= {place: looking.folder(place) for place in sorted(places.folders)}
    ways = {folder: frozenset(names) for folder, names in looking.ways.items()}
    return Sight(shown, looking.folders, looking.is_young, ways, looking.insides)


class _Looking:
    """One look. Keeps what it saw, because many places lie on one way."""

    def __init__(self, now_ns: int, max_walked: int) -> None:
        self.folders: dict[str, tuple[int, int]] = {}
        self.ways: dict[str, set[str]] = {}
        self.insides: dict[str, bool] = {}
        self.is_young = False
        self._now_ns = now_ns
        self._max_walked = max_walked
        self._touched_ns = 0

    def file(self, place: Path) -> Shown:
        """Look at one file."""
        self._touched_ns = 0
        return Shown({"": self._end(place)[1]}, self._touched_ns)

    def folder(self, place: Path) -> Shown:
        """Look at one plugin's folder."""
        self._touched_ns = 0
        end, found = self._end(place)
        stamps = {"": found}
        if found == _FOLDER:
            self._walk(end, stamps)
        return Shown(stamps, self._touched_ns)

    def _end(self, place: Path) -> tuple[str, Stamp]:
        """Go to a place. Say where it really is, and the stamp of what is there."""
        try:
            end = self._follow(place)
            found = os.lstat(end)
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                raise
            return "", _NOTHING
        except ValueError:  # a NUL in the path
            return "", _NOTHING
        if stat.S_ISDIR(found.st_mode):
            return end, _FOLDER
        return end, self._stamp(found)

    def _follow(self, place: Path) -> str:
        """Follow a path as the kernel does, and note every folder on the way with the entry that is taken in it."""
        here, links = "/", 0
        ahead = list(reversed(place.absolute().parts[1:]))
        while ahead:
            name = ahead.pop()
            if name == "..":
                here = os.path.dirname(here)
                continue
            self._note(here)
            self.ways.setdefault(here, set()).add(name)
            path = os.path.join(here, name)
            target = self._target(path, here)
            if target is None:
                here = path
                continue
            links += 1
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, _FOLLOWED_IN_VAIN)
            here = "/" if target.startswith("/") else here
            ahead.extend(part for part in reversed(target.split("/")) if part not in ("", "."))
        return here

    def _target(self, path: str, folder: str) -> str | None:
        """Where a link leads; None where there is no link. Raises OSError where there is nothing."""
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            # Whoever took it away touched the folder.
            self._touch(os.lstat(folder).st_mtime_ns)
            raise
        if not stat.S_ISLNK(found.st_mode):
            return None
        self._touch(found.st_ctime_ns)
        return os.readlink(path)

    def _note(self, folder: str) -> None:
        if folder not in self.folders:
            found = os.lstat(folder)
            if not stat.S_ISDIR(found.st_mode):
                raise OSError(errno.ENOTDIR, _FOLLOWED_IN_VAIN)
            self.folders[folder] = (found.st_dev, found.st_ino)

    def _walk(self, top: str, stamps: dict[str, Stamp]) -> None:
        """Look at all that goes into a snapshot. What vanishes meanwhile is passed over: it will be heard of."""
        ahead = [(top, "")]
        walked = 0
        while ahead and walked <= self._max_walked:
            folder, prefix = ahead.pop()
            try:
                entries = self._entries(folder, at_top=not prefix)
            except OSError as error:
                if error.errno not in _NOTHING_THERE:
                    raise
                if error.errno in (errno.EACCES, errno.EPERM):
                    stamps[prefix] = _NOTHING
                continue
            walked += 1 + len(entries)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    ahead.append((entry.path, f"{prefix}{entry.name}/"))
                else:
                    self._see(entry.path, f"{prefix}{entry.name}", stamps)

    def _entries(self, folder: str, *, at_top: bool) -> list[os.DirEntry[str]]:
        self._note(folder)
        self._touch(os.lstat(folder).st_ctime_ns)
        # The top of one plugin may lie deep in another, where fewer names are ignored.
        self.insides[folder] = at_top and self.insides.get(folder, True)
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_left_out(entry, at_top=at_top)]

    def _see(self, path: str, name: str, stamps: dict[str, Stamp]) -> None:
        try:
            stamps[name] = self._stamp(os.lstat(path))
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                raise

    def _stamp(self, found: os.stat_result) -> Stamp:
        self._touch(found.st_ctime_ns)
        # The mark makes the stamp differ from that of the next look, whatever happens in this tick.
        is_young = -SKEW_NS < self._now_ns - found.st_ctime_ns < TICK_NS
        self.is_young |= is_young
        return (*stamp(found), is_young)

    def _touch(self, time_ns: int) -> None:
        self._touched_ns = max(self._touched_ns, time_ns)
