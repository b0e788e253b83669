"""Snapshots by digest: the files that workers run from, whatever the author does to the folder meanwhile."""

from __future__ import annotations

import functools
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from isolation.errors import EnvironmentBuildError
from isolation.manifest.values import Manifest
from isolation.store.events import BuildEvent, Report
from isolation.store.filelock import FileLock, LockMode
from isolation.store.folder import Entry, FolderChanged, Picture, Unfit, copy_file, take_picture
from isolation.store.layout import Layout, Workplace
from isolation.store.resolution import digest_of
from isolation.store.seal import make_read_only, read_seal, write_seal

__all__ = ["Shot", "Snapshots", "runtime_version"]

STEADY_SECONDS = 10.0
"""How long to wait for a folder to hold still; an editor or a checkout is done long before."""

PAUSE_SECONDS = 0.05

COPY_WAIT_SECONDS = 60.0
"""How long to wait for another process that copies the same files; they are few and small."""

_FILES = "plugin"
_RUNTIME = Path(__file__).parent.parent / "runtime"


@dataclass(frozen=True, slots=True)
class Shot:
    """A folder as it is now, and the digest it would have in the store."""

    picture: Picture
    digest: str


class Snapshots:
    """The snapshots of one store. Callers hold a lease on the digest while they write or use it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def is_whole(self, digest: str) -> bool:
        """Tell whether a snapshot is there."""
        return read_seal(self._layout.snapshot(digest)) is not None

    def foresee(self, manifest: Manifest, fingerprint: str | None, lock: tuple[str, str] | None) -> str:
        """Tell the digest that a plugin will have when this lock, its name and text, is written beside it."""
        shot = self.look(manifest, fingerprint)
        if lock is None or manifest.script is not None:  # the lock of a single file is no part of its snapshot
            return shot.digest
        name, text = lock
        written = Entry(name, False, hashlib.sha256(text.encode("utf-8")).hexdigest(), None, ())
        entries = sorted((*shot.picture.entries, written), key=lambda entry: entry.name)
        return _digest(manifest, Picture(shot.picture.root, tuple(entries)), fingerprint)

    def look(self, manifest: Manifest, fingerprint: str | None) -> Shot:
        """Read a plugin's files and name them. Raises EnvironmentBuildError when they never hold still or are unfit."""
        only = None if manifest.script is None else (manifest.script.name,)
        until = time.monotonic() + STEADY_SECONDS
        while True:
            try:
                picture = take_picture(manifest.root, only)
            except FolderChanged:
                if time.monotonic() > until:
                    message = f"its files kept changing for {STEADY_SECONDS:.0f} s while they were read"
                    raise EnvironmentBuildError(
                        manifest.name, message, hint="try again when they are at rest"
                    ) from None
                time.sleep(PAUSE_SECONDS)
            except Unfit as error:
                message = f"its folder cannot be taken into the store: {error}"
                raise EnvironmentBuildError(manifest.name, message, hint=f"tidy up {manifest.root}") from None
            else:
                return Shot(picture, _digest(manifest, picture, fingerprint))

    def files(self, digest: str) -> Path:
        """Tell where the files of a snapshot are."""
        return self._layout.snapshot(digest) / _FILES

    def keep(self, manifest: Manifest, shot: Shot, fingerprint: str | None, report: Report) -> bool:
        """Put a shot into the store. False when the folder has changed since: look again."""
        target = self._layout.snapshot(shot.digest)
        if read_seal(target) is not None:
            return True
        with FileLock.take(
            self._layout.lock(f"snapshot-{shot.digest}"), LockMode.EXCLUSIVE, within_seconds=COPY_WAIT_SECONDS
        ):
            return read_seal(target) is not None or self._write(manifest, shot, fingerprint, report)

    def _write(self, manifest: Manifest, shot: Shot, fingerprint: str | None, report: Report) -> bool:
        report(BuildEvent(manifest.name, "snapshot", "copying its files", 0.95))
        with Workplace(self._layout) as place:
            copy = place.path / "snapshot"
            try:
                _copy(shot.picture, copy / _FILES)
            except FolderChanged:
                return False
            make_read_only(copy / _FILES)
            facts = {
                "plugin": manifest.name,
                "version": manifest.version,
                "root": str(manifest.script or manifest.root),
            }
            write_seal(copy, {**facts, "digest": shot.digest, "fingerprint": fingerprint, "created": time.time()})
            place.publish(copy, self._layout.snapshot(shot.digest))
        return True


def _copy(picture: Picture, target: Path) -> None:
    target.mkdir(parents=True)
    for entry in picture.entries:
        path = target / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        copy_file(picture.root, entry, path)


def _digest(manifest: Manifest, picture: Picture, fingerprint: str | None) -> str:
    limits = [manifest.limits.memory_bytes, manifest.limits.startup_seconds, manifest.limits.kill_after_seconds]
    return digest_of([picture.identity(), fingerprint, limits, runtime_version()])


@functools.cache
def runtime_version() -> str:
    """Hash the runtime that workers of this host run on: a host with another one makes other generations."""
    hashed = hashlib.sha256()
    for file in sorted(_RUNTIME.rglob("*.py")):
        hashed.update(str(file.relative_to(_RUNTIME)).encode() + b"\0" + file.read_bytes())
    return hashed.hexdigest()
