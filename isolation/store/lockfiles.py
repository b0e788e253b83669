"""From a plugin to what its lock says to install: finds the lock, makes it on first use, refuses a stale one.

Inputs are bytes of files; a memo in the store remembers what the same bytes meant, so that uv runs only for new ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isolation.errors import EnvironmentBuildError
from isolation.manifest.values import Manifest, SourceKind
from isolation.store.events import BuildEvent, Report, unheard
from isolation.store.failures import Doing, failure
from isolation.store.filelock import FileLock, LockMode, LockTimeout
from isolation.store.interpreters import Interpreter
from isolation.store.layout import Layout, read_json, write_json
from isolation.store.locking import Locking, lock_path, shown
from isolation.store.requirements import matches, requirement_lines
from isolation.store.resolution import (
    LAYOUT,
    NO_PACKAGES,
    Resolution,
    UnusableLock,
    digest_of,
    fingerprint_of,
    read_pylock,
)
from isolation.store.sources import resolving
from isolation.store.uv import Uv, UvOutcome, UvStopped

__all__ = ["LOCK_WAIT_SECONDS", "Locked", "Lockfiles"]

LOCK_WAIT_SECONDS = 600.0
"""How long to wait for another process that locks the same plugin."""

STEADY_ATTEMPTS = 5
"""How often to begin again when the files change while they are read."""

_EXPORT = ("export", "--format", "pylock.toml", "--no-header", "--locked")
_EXCEPTION = "--no-binary-package"
_INDEX_SETTINGS = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX")


@dataclass(frozen=True, slots=True)
class Locked:
    """What a plugin's lock means on one interpreter."""

    fingerprint: str
    pylock: str

    def resolution(self) -> Resolution:
        """Read the packages; only a build needs them."""
        return read_pylock(self.pylock) if self.pylock else NO_PACKAGES


class Lockfiles:
    """Reads the locks of plugins for one store."""

    def __init__(self, layout: Layout, uv: Uv, locking: Locking, *, locked: bool) -> None:
        self._layout = layout
        self._uv = uv
        self._locking = locking
        self._locked = locked
        self._foreseen: dict[str, tuple[str, str]] = {}

    def read(self, manifest: Manifest, extras: Sequence[str], interpreter: Interpreter, report: Report) -> Locked:
        """Find out what to install. Raises EnvironmentBuildError for a missing, stale or unusable lock."""
        if not _needs_lock(manifest, extras):
            return self._remember(None, NO_PACKAGES, manifest, extras, interpreter)
        self._ensure(manifest, interpreter, report)
        return self._understood(manifest, extras, interpreter, report)

    def preview(self, manifest: Manifest, extras: Sequence[str], interpreter: Interpreter) -> tuple[Locked, str | None]:
        """Find out what `read` would, and the lock that it would make on first use, which is kept for it."""
        path = lock_path(manifest)
        if not _needs_lock(manifest, extras) or (path is not None and path.is_file()):
            return self._present(manifest, extras, interpreter), None
        assert path is not None
        if self._locked:
            raise self._missing(manifest, path)
        key = _lockless_key(manifest, interpreter)
        text = self._foreseen_lock(manifest, key) or self._locking.make(manifest, interpreter)[1]
        with self._locking.mirrored(manifest, text) as mirror:
            locked = self._understood(mirror, extras, interpreter, unheard)
        if key == _lockless_key(manifest, interpreter):
            self._foreseen[shown(manifest)] = (key, text)
        return locked, text

    def _foreseen_lock(self, manifest: Manifest, key: str) -> str | None:
        """The lock that a preview has made for these very requirements."""
        of, text = self._foreseen.get(shown(manifest), ("", ""))
        return text if of == key else None

    def _present(self, manifest: Manifest, extras: Sequence[str], interpreter: Interpreter) -> Locked:
        if not _needs_lock(manifest, extras):
            return self._remember(None, NO_PACKAGES, manifest, extras, interpreter)
        return self._understood(manifest, extras, interpreter, unheard)

    def _understood(
        self, manifest: Manifest, extras: Sequence[str], interpreter: Interpreter, report: Report
    ) -> Locked:
        """What the lock of a plugin means."""
        for _ in range(STEADY_ATTEMPTS):
            key = _key(manifest, extras, interpreter)
            memo = read_json(self._layout.memo(key)) or {}
            fingerprint, pylock = memo.get("fingerprint"), memo.get("pylock")
            if isinstance(fingerprint, str) and isinstance(pylock, str):
                return Locked(fingerprint, pylock)
            report(BuildEvent(manifest.name, "resolve", "reading its lock", 0.05))
            resolution = self._resolve(manifest, extras, interpreter)
            if key == _key(manifest, extras, interpreter):
                return self._remember(key, resolution, manifest, extras, interpreter)
        raise EnvironmentBuildError(
            manifest.name, "its lock keeps changing while it is read", hint="try again when the folder is at rest"
        )

    def _ensure(self, manifest: Manifest, interpreter: Interpreter, report: Report) -> None:
        """Make the lock on first use; one process does, the others wait for it."""
        path = lock_path(manifest)
        assert path is not None
        if path.is_file():
            return
        if self._locked:
            raise self._missing(manifest, path)
        name = f"lock-{digest_of(str(path))}"
        waiting = BuildEvent(manifest.name, "waiting", "another process is locking it", None)
        try:
            lock = FileLock.take(
                self._layout.lock(name),
                LockMode.EXCLUSIVE,
                within_seconds=LOCK_WAIT_SECONDS,
                waiting=lambda: report(waiting),
                stopped=lambda: self._uv.stopped,
            )
        except LockTimeout:
            if self._uv.stopped:
                raise UvStopped from None
            message = f"another process has been locking it for {LOCK_WAIT_SECONDS:.0f} s"
            raise EnvironmentBuildError(manifest.name, message, hint="end that process, then try again") from None
        with lock:
            if not path.is_file():
                report(BuildEvent(manifest.name, "lock", f"writing {path.name} on first use", 0.02))
                self._make(manifest, interpreter)

    def _make(self, manifest: Manifest, interpreter: Interpreter) -> None:
        """Write the lock that was foreseen for these very requirements, so that what was shown is what is used."""
        foreseen = self._foreseen_lock(manifest, _lockless_key(manifest, interpreter))
        if foreseen is None:
            self._locking.write(manifest, interpreter)
        else:
            self._locking.put(manifest, foreseen)

    def _missing(self, manifest: Manifest, path: Path) -> EnvironmentBuildError:
        return EnvironmentBuildError(
            manifest.name,
            f"there is no {path.name} in {path.parent}, and --locked does not make one",
            hint=f"`penstock plugin lock {shown(manifest)}` makes it",
        )

    def _resolve(self, manifest: Manifest, extras: Sequence[str], interpreter: Interpreter) -> Resolution:
        try:
            if manifest.kind is SourceKind.REQUIREMENTS:
                return self._from_pylock(manifest)
            return read_pylock(self._exported(manifest, extras, interpreter))
        except UnusableLock as error:
            raise EnvironmentBuildError(
                manifest.name,
                f"its lock cannot be installed with hashes: {error}",
                hint="only distributions from an index or a folder of wheels can be used; then lock again",
            ) from None

    def _from_pylock(self, manifest: Manifest) -> Resolution:
        text = (manifest.root / "pylock.toml").read_text(encoding="utf-8")
        resolution = read_pylock(text)
        if not matches(text, resolution, requirement_lines(manifest.root / "requirements.txt")):
            raise EnvironmentBuildError(
                manifest.name,
                "requirements.txt no longer matches pylock.toml",
                hint=f"look at what changed, then `penstock plugin lock {shown(manifest)}`",
            )
        return resolution

    def _exported(self, manifest: Manifest, extras: Sequence[str], interpreter: Interpreter) -> str:
        # A project would be part of its own export, as an editable folder without a hash.
        of = ["--project", str(manifest.root), "--no-emit-project", "--no-default-groups"]
        if manifest.script is not None:
            of = ["--script", str(manifest.script)]
        chosen = [word for extra in sorted(extras) for word in ("--extra", extra)]
        arguments = [*_EXPORT, *of, *chosen, "--python", interpreter.executable]

        def attempt(rule: Sequence[str]) -> UvOutcome:
            return self._uv.run([*arguments, *rule], cwd=manifest.root)

        def attempt_plainly(rule: Sequence[str]) -> UvOutcome:
            return self._uv.run([*arguments, *rule, "--offline"], cwd=manifest.root, environment=plain)

        first = outcome = resolving(attempt, manifest.sdists, _EXCEPTION)
        if first.status != 0:
            # A mirror set in the environment makes uv take a lock of another index for stale: ask without it, too.
            plain = {name: value for name, value in self._uv.environment.items() if name not in _INDEX_SETTINGS}
            outcome = resolving(attempt_plainly, manifest.sdists, _EXCEPTION)
        if outcome.status != 0:
            raise self._failed(manifest, Doing.READ_LOCK, first)
        return outcome.output.decode("utf-8")

    def _remember(
        self,
        key: str | None,
        resolution: Resolution,
        manifest: Manifest,
        extras: Sequence[str],
        interpreter: Interpreter,
    ) -> Locked:
        locked = Locked(fingerprint_of(resolution, extras, manifest.sdists, interpreter), resolution.pylock)
        if key is not None:
            write_json(self._layout.memo(key), {"fingerprint": locked.fingerprint, "pylock": locked.pylock})
        return locked

    def _failed(self, manifest: Manifest, doing: Doing, outcome: UvOutcome) -> EnvironmentBuildError:
        return failure(manifest.name, doing, outcome, folder=shown(manifest))


def _needs_lock(manifest: Manifest, extras: Sequence[str]) -> bool:
    if manifest.kind is SourceKind.REQUIREMENTS:
        return bool(requirement_lines(manifest.root / "requirements.txt"))
    return bool(manifest.dependencies or extras)


def _key(manifest: Manifest, extras: Sequence[str], interpreter: Interpreter) -> str:
    """Name the bytes that decide what is installed."""
    lock = lock_path(manifest)
    return _key_of(manifest, [lock] if lock else [], extras, interpreter)


def _lockless_key(manifest: Manifest, interpreter: Interpreter) -> str:
    """Name the bytes that decide what a plugin's first lock says."""
    return _key_of(manifest, [], (), interpreter)


def _key_of(manifest: Manifest, locks: Sequence[Path], extras: Sequence[str], interpreter: Interpreter) -> str:
    files = [manifest.script or manifest.root / "pyproject.toml", *locks]
    contents = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    if manifest.kind is SourceKind.REQUIREMENTS:
        contents += requirement_lines(manifest.root / "requirements.txt")
    identity = [interpreter.implementation, interpreter.version, interpreter.platform, interpreter.abi]
    return digest_of([LAYOUT, manifest.kind.value, contents, sorted(extras), sorted(manifest.sdists), identity])
