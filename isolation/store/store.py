"""The store's face: from a manifest to files and an interpreter that a worker can start with. Starts no worker."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from isolation.errors import EnvironmentBuildError
from isolation.manifest.values import Manifest, SourceKind
from isolation.store.bytecode import Compilers
from isolation.store.collection import GcReport, collect
from isolation.store.environments import Environments
from isolation.store.events import BuildEvent, Report, unheard
from isolation.store.filelock import LockTimeout
from isolation.store.holds import Holds
from isolation.store.interpreters import Interpreter, Interpreters
from isolation.store.inventory import EnvironmentInfo, list_environments
from isolation.store.layout import Layout
from isolation.store.leases import Leases
from isolation.store.lockfiles import Lockfiles
from isolation.store.locking import Locking, lock_path
from isolation.store.places import default_state_root, default_store_root
from isolation.store.preview import Preview, versions_of
from isolation.store.resolution import digest_of
from isolation.store.seal import read_seal
from isolation.store.snapshots import Shot, Snapshots
from isolation.store.uses import Use, Uses, now
from isolation.store.uv import Uv, UvStopped, uv_environment

__all__ = ["PreparationErrors", "Prepared", "Store", "default_store_root"]

PARALLEL_BUILDS = 4
"""uv is parallel itself; more at once only compete for the disk."""

_LOOKS = 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """One generation, ready to start: its read-only files, its environment and the interpreter to start with.

    `environment` and `fingerprint` are None for a `command` plugin without requirements, whose launcher runs on the
    host's interpreter. `digest` names the generation. `data` is the private directory of a plugin that asks for one:
    the same for every generation of it.
    """

    plugin: str
    snapshot: Path
    environment: Path | None
    python: Path
    fingerprint: str | None
    digest: str
    data: Path | None = None


class PreparationErrors(EnvironmentBuildError):
    """Several plugins could not be prepared. `errors` has each one's own."""

    def __init__(self, errors: Sequence[EnvironmentBuildError]) -> None:
        names = ", ".join(error.plugin for error in errors)
        message = "\n".join(f"{error}\n  {error.hint}" for error in errors)
        super().__init__(names, f"{len(errors)} plugins could not be prepared\n{message}", hint=errors[0].hint)
        self.errors = tuple(errors)


class Store:
    """Environments and snapshots below one folder, shared by every process of one user.

    `offline` forbids the network, `locked` refuses plugins without a lock, `pipeline` says for whom plugins are
    prepared. What plugins keep for themselves is no part of it, and is never removed: it is in `data`, which is below
    the state root where nothing else is said. What was prepared is kept from collection until `release` or `close`.
    Safe to use from several threads.
    """

    def __init__(
        self,
        root: Path,
        *,
        offline: bool = False,
        locked: bool = False,
        pipeline: Path | None = None,
        data: Path | None = None,
        background_bytecode: bool = True,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        try:
            self._layout = Layout(root.absolute())
        except OSError as error:
            raise EnvironmentBuildError(
                "store", f"{root} cannot be used: {error.strerror}", hint="PENSTOCK_STORE names another folder"
            ) from None
        self._data = default_state_root(environment) / "data" if data is None else data
        self._pipeline = "" if pipeline is None else str(pipeline.absolute())
        self._uv = Uv(uv_environment(environment), offline=offline)
        self._interpreters = Interpreters(self._layout.root / "interpreters.json", self._uv)
        self._locking = Locking(self._layout, self._uv)
        self._lockfiles = Lockfiles(self._layout, self._uv, self._locking, locked=locked)
        self._environments = Environments(self._layout, self._uv)
        self._snapshots = Snapshots(self._layout)
        self._uses = Uses(self._layout)
        self._leases = Leases(self._layout)
        self._holds = Holds(self._layout)
        self._compilers = Compilers(self._layout) if background_bytecode else None

    @property
    def root(self) -> Path:
        """The store's folder."""
        return self._layout.root

    def prepare(self, manifest: Manifest, extras: tuple[str, ...] | None = None, report: Report = unheard) -> Prepared:
        """Make a generation ready: lock, environment, snapshot. Blocks. Raises EnvironmentBuildError.

        `extras` None means the author's own choice. The result is kept from collection until `release` or `close`.
        """
        with _explained(manifest.name, self._layout.root):
            return self._prepare(manifest, self._extras(manifest, extras), report)

    def prepare_all(
        self, wanted: Sequence[tuple[Manifest, tuple[str, ...] | None]], report: Report = unheard
    ) -> list[Prepared]:
        """Prepare several plugins at once, in the order asked. Raises one error that names every failure.

        `report` is called from several threads.
        """
        found, errors = _side_by_side(lambda manifest, extras: self.prepare(manifest, extras, report), wanted)
        if errors:
            for prepared in found:
                self.release(prepared)
            raise errors[0] if len(errors) == 1 else PreparationErrors(errors)
        return found

    def preview(self, manifest: Manifest, extras: tuple[str, ...] | None = None) -> Preview:
        """Say what `prepare` would use, and make nothing of it. Blocks. Raises EnvironmentBuildError.

        What has to be resolved is resolved in the store; nothing is written beside the plugin.
        """
        with _explained(manifest.name, self._layout.root):
            return self._preview(manifest, self._extras(manifest, extras))

    def preview_all(self, wanted: Sequence[tuple[Manifest, tuple[str, ...] | None]]) -> list[Preview]:
        """Preview several plugins at once, in the order asked. Raises one error that names every failure."""
        found, errors = _side_by_side(self.preview, wanted)
        if errors:
            raise errors[0] if len(errors) == 1 else PreparationErrors(errors)
        return found

    def describe(self, prepared: Prepared) -> Preview:
        """Say of a generation that was prepared what `preview` said of it then, whatever became of its folder."""
        seal = None if prepared.environment is None else read_seal(prepared.environment)
        packages = (seal or {}).get("packages")
        pairs = [str(package).split("==", 1) for package in packages] if isinstance(packages, list) else []
        return Preview(
            plugin=prepared.plugin,
            fingerprint=prepared.fingerprint,
            digest=prepared.digest,
            python=prepared.python,
            environment_ready=prepared.environment is None or seal is not None,
            snapshot_ready=self._snapshots.is_whole(prepared.digest),
            locked=versions_of((name, version) for name, version in pairs),
        )

    def revive(self, prepared: Prepared) -> Prepared:
        """Make a generation ready that was prepared before, as it was. Raises EnvironmentBuildError when it is gone."""
        with _explained(prepared.plugin, self._layout.root):
            for name in filter(None, (prepared.digest, prepared.fingerprint)):
                self._leases.take(name)
            needed = filter(None, (prepared.snapshot, prepared.environment, prepared.python))
            gone = [path for path in needed if not path.exists()]
            if not gone:
                return prepared
            self.release(prepared)
            hint = "its runs have to be finished by hand; `penstock runs show ID` says what they did"
            raise EnvironmentBuildError(prepared.plugin, f"its generation is gone: {gone[0]} is missing", hint=hint)

    def lock(self, manifest: Manifest, *, upgrade: bool = False) -> Path:
        """Lock a plugin's requirements again and return the lock's path. Raises EnvironmentBuildError."""
        with _explained(manifest.name, self._layout.root):
            interpreter = self._interpreters.choose(manifest.name, manifest.requires_python)
            return self._locking.write(manifest, interpreter, upgrade=upgrade)

    def release(self, prepared: Prepared) -> None:
        """Say that a generation is not used any more by this process."""
        self._leases.drop(prepared.digest)
        if prepared.fingerprint is not None:
            self._leases.drop(prepared.fingerprint)

    def environments(self) -> list[EnvironmentInfo]:
        """List the environments of the store, the most recently used first."""
        return list_environments(self._layout, self._uses)

    def gc(self, *, dry_run: bool = False, keep: Collection[str] = ()) -> GcReport:
        """Remove what nobody needs; `keep` names fingerprints and digests that somebody still does."""
        return collect(self._layout, self._uses, keep={*keep, *self._holds.names()}, dry_run=dry_run)

    def hold(self, owner: Path, names: Collection[str]) -> None:
        """Keep these fingerprints and digests as long as the folder `owner` is there, or until it holds others."""
        self._holds.write(owner, names)

    def settle(self, seconds: float) -> bool:
        """Wait until bytecode is compiled; False when time is up first."""
        return self._compilers is None or self._compilers.wait(seconds)

    def close(self) -> None:
        """End builds and background work, and let go of everything prepared."""
        self._uv.stop()
        if self._compilers is not None:
            self._compilers.close()
        self._leases.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, manifest: Manifest, extras: tuple[str, ...], report: Report) -> Prepared:
        interpreter = self._interpreters.choose(manifest.name, manifest.requires_python)
        if _needs_no_environment(manifest):
            return self._generation(manifest, None, Path(interpreter.executable), None, report)
        return self._with_environment(manifest, extras, interpreter, report)

    def _preview(self, manifest: Manifest, extras: tuple[str, ...]) -> Preview:
        interpreter = self._interpreters.choose(manifest.name, manifest.requires_python)
        if _needs_no_environment(manifest):
            digest = self._snapshots.foresee(manifest, None, None)
            python = Path(interpreter.executable)
            return Preview(manifest.name, None, digest, python, True, self._snapshots.is_whole(digest), {})
        locked, made = self._lockfiles.preview(manifest, extras, interpreter)
        path = lock_path(manifest)
        lock = None if made is None or path is None else (path.name, made)
        digest = self._snapshots.foresee(manifest, locked.fingerprint, lock)
        return Preview(
            plugin=manifest.name,
            fingerprint=locked.fingerprint,
            digest=digest,
            python=self._layout.environment(locked.fingerprint) / "bin" / "python",
            environment_ready=self._environments.is_whole(locked.fingerprint),
            snapshot_ready=self._snapshots.is_whole(digest),
            locked=versions_of((package.name, package.version) for package in locked.resolution().packages),
        )

    def _with_environment(
        self, manifest: Manifest, extras: tuple[str, ...], interpreter: Interpreter, report: Report
    ) -> Prepared:
        locked = self._lockfiles.read(manifest, extras, interpreter, report)
        self._leases.take(locked.fingerprint)
        try:
            environment = self._environments.obtain(manifest, locked, interpreter, report)
            if self._compilers is not None:
                self._compilers.ensure(locked.fingerprint)
            python = environment / "bin" / "python"
            return self._generation(manifest, environment, python, locked.fingerprint, report)
        except BaseException:
            self._leases.drop(locked.fingerprint)
            raise

    def _generation(
        self, manifest: Manifest, environment: Path | None, python: Path, fingerprint: str | None, report: Report
    ) -> Prepared:
        for _ in range(_LOOKS):
            shot = self._snapshots.look(manifest, fingerprint)
            if self._kept(manifest, shot, fingerprint, report):
                break
        else:
            raise EnvironmentBuildError(
                manifest.name, "its files keep changing while they are copied", hint="try again when they are at rest"
            )
        source = str(manifest.script or manifest.root)
        self._uses.record(Use(manifest.name, source, shot.digest, fingerprint, self._pipeline, now()))
        report(BuildEvent(manifest.name, "ready", shot.digest, 1.0))
        files = self._snapshots.files(shot.digest)
        data = self._data_of(manifest.name, digest_of(source)[:16]) if manifest.data else None
        return Prepared(manifest.name, files, environment, python, fingerprint, shot.digest, data)

    def _data_of(self, name: str, key: str) -> Path:
        """Make a plugin's private directory, or find the one that it has; `name` is only for people."""
        folder = self._data / f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:80]}-{key}"
        try:
            for each in (self._data.parent, self._data, folder):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            message = f"its private directory {folder} cannot be made: {error.strerror}"
            raise EnvironmentBuildError(name, message, hint="PENSTOCK_STATE names another folder") from None
        return folder

    def _kept(self, manifest: Manifest, shot: Shot, fingerprint: str | None, report: Report) -> bool:
        """Put a shot into the store under a lease, which is given back unless it worked."""
        self._leases.take(shot.digest)
        kept = False
        try:
            kept = self._snapshots.keep(manifest, shot, fingerprint, report)
        finally:
            if not kept:
                self._leases.drop(shot.digest)
        return kept

    def _extras(self, manifest: Manifest, extras: tuple[str, ...] | None) -> tuple[str, ...]:
        chosen = manifest.extras if extras is None else extras
        unknown = sorted(set(chosen) - manifest.available_extras)
        if unknown:
            have = ", ".join(sorted(manifest.available_extras)) or "none"
            raise EnvironmentBuildError(
                manifest.name, f"has no extra {', '.join(unknown)} (it has: {have})", hint="correct `extras`"
            )
        return tuple(sorted(set(chosen)))


_Made = TypeVar("_Made")


def _side_by_side(
    make: Callable[[Manifest, tuple[str, ...] | None], _Made],
    wanted: Sequence[tuple[Manifest, tuple[str, ...] | None]],
) -> tuple[list[_Made], list[EnvironmentBuildError]]:
    """What came of each that was made, in the order asked, and the errors of the others."""
    errors: list[EnvironmentBuildError] = []

    def one(pair: tuple[Manifest, tuple[str, ...] | None]) -> list[_Made]:
        try:
            return [make(*pair)]
        except EnvironmentBuildError as error:
            errors.append(error)
            return []

    with ThreadPoolExecutor(PARALLEL_BUILDS, thread_name_prefix="penstock-store") as threads:
        return [made for found in threads.map(one, wanted) for made in found], errors


def _needs_no_environment(manifest: Manifest) -> bool:
    """Tell whether a plugin brings a program of its own and nothing else: it runs beside no package of Python."""
    bare = manifest.kind in (SourceKind.BARE, SourceKind.PROJECT) and not manifest.dependencies
    return manifest.command is not None and bare


@contextmanager
def _explained(plugin: str, root: Path) -> Iterator[None]:
    """Turn what the machine refuses into the one error that says so."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise EnvironmentBuildError(
            plugin,
            f"the machine refused: {error.strerror or error}{where}",
            hint=f"check the file, and space and rights of {root}; PENSTOCK_STORE names another folder",
        ) from error
    except LockTimeout as error:
        raise EnvironmentBuildError(
            plugin, f"somebody has held a lock of the store for too long: {error}", hint="end that process, try again"
        ) from None
    except UvStopped:
        raise EnvironmentBuildError(plugin, "the store was closed meanwhile", hint="start again") from None
