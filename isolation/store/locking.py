"""Writes the lock of a plugin beside it: by uv, on a copy, and then in one step. Reads nothing out of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from isolation.errors import EnvironmentBuildError
from isolation.manifest.values import Manifest, SourceKind
from isolation.store.failures import Doing, failure
from isolation.store.interpreters import Interpreter
from isolation.store.layout import Layout, Workplace
from isolation.store.requirements import requirement_lines, sealed
from isolation.store.sources import resolving
from isolation.store.uv import Uv, UvOutcome

__all__ = ["Locking", "lock_path", "shown"]


def lock_path(manifest: Manifest) -> Path | None:
    """Tell where a plugin's lock is or would be; None where there is nothing to lock."""
    if manifest.script is not None:
        return manifest.script.with_name(manifest.script.name + ".lock")
    names = {SourceKind.PROJECT: "uv.lock", SourceKind.REQUIREMENTS: "pylock.toml"}
    name = names.get(manifest.kind)
    return None if name is None else manifest.root / name


def shown(manifest: Manifest) -> str:
    """Write the plugin as the user would on a command line."""
    return str(manifest.script or manifest.root)


@dataclass(frozen=True, slots=True)
class Locking:
    """Locks plugins for one store."""

    layout: Layout
    uv: Uv

    def write(self, manifest: Manifest, interpreter: Interpreter, *, upgrade: bool = False) -> Path:
        """Lock a plugin again and return the lock. What is pinned stays unless it has to move or `upgrade` is asked."""
        path, text = self.make(manifest, interpreter, upgrade=upgrade)
        _put(manifest, path, text)
        return path

    def make(self, manifest: Manifest, interpreter: Interpreter, *, upgrade: bool = False) -> tuple[Path, str]:
        """Say what `write` would write, and where."""
        path = lock_path(manifest)
        if path is None:
            raise EnvironmentBuildError(
                manifest.name, "has no requirements that could be locked", hint="nothing needs to be done"
            )
        options = ["--python", interpreter.executable, *(["--upgrade"] if upgrade else [])]
        with Workplace(self.layout) as place:
            resolve = self._compiled if manifest.kind is SourceKind.REQUIREMENTS else self._locked
            return path, resolve(manifest, path, options, place)

    def put(self, manifest: Manifest, text: str) -> None:
        """Write a lock that `make` has made before."""
        path = lock_path(manifest)
        assert path is not None
        _put(manifest, path, text)

    @contextmanager
    def mirrored(self, manifest: Manifest, text: str) -> Iterator[Manifest]:
        """A plugin as if its lock were written: the same manifest, at a folder of the store."""
        lock = lock_path(manifest)
        assert lock is not None
        with Workplace(self.layout) as place:
            copy = place.path / "project"
            _mirror(manifest, lock, copy)
            (copy / lock.name).write_text(text, encoding="utf-8")
            script = None if manifest.script is None else copy / manifest.script.name
            yield replace(manifest, root=copy, script=script)

    def _locked(self, manifest: Manifest, path: Path, options: list[str], place: Workplace) -> str:
        """Let uv lock a copy, so that a kill never leaves half a lock in the author's folder."""
        copy = place.path / "project"
        _mirror(manifest, path, copy)
        of = ["--script", str(copy / manifest.script.name)] if manifest.script else ["--project", str(copy)]
        self._run(manifest, ["lock", *of, *options], copy, place, exception="--no-binary-package")
        return (copy / path.name).read_text(encoding="utf-8")

    def _compiled(self, manifest: Manifest, path: Path, options: list[str], place: Workplace) -> str:
        lines = requirement_lines(manifest.root / "requirements.txt")
        target = place.path / "pylock.toml"
        if path.is_file():
            target.write_bytes(path.read_bytes())
        arguments = ["pip", "compile", "requirements.txt", "--format", "pylock.toml", "--universal"]
        arguments += ["--generate-hashes", "--no-header", "--no-annotate", "--output-file", str(target), *options]
        self._run(manifest, arguments, manifest.root, place, exception="--no-binary")
        return sealed(target.read_text(encoding="utf-8"), lines)

    def _run(self, manifest: Manifest, arguments: list[str], cwd: Path, place: Workplace, *, exception: str) -> None:
        def attempt(rule: Sequence[str]) -> UvOutcome:
            return self.uv.run([*arguments, *rule], cwd=cwd, keep=place.descriptor)

        outcome = resolving(attempt, manifest.sdists, exception)
        if outcome.status != 0:
            raise failure(manifest.name, Doing.LOCK, outcome, folder=shown(manifest))


def _mirror(manifest: Manifest, lock: Path, copy: Path) -> None:
    """Make a folder that looks like the plugin's: its own lock and manifest, links to everything else."""
    copy.mkdir()
    own = {lock.name, manifest.script.name if manifest.script else "pyproject.toml"}
    for entry in manifest.root.iterdir():
        if entry.name in own:
            (copy / entry.name).write_bytes(entry.read_bytes())
        elif manifest.script is None and entry.name != ".venv":
            (copy / entry.name).symlink_to(entry)


def _put(manifest: Manifest, path: Path, text: str) -> None:
    """Write a file beside the plugin so that nobody ever sees half of it."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, path)
    except OSError as error:
        raise EnvironmentBuildError(
            manifest.name,
            f"its lock cannot be written to {path}: {error.strerror}",
            hint="make the folder writable, or ship the lock with the plugin",
        ) from None
    finally:
        fresh.unlink(missing_ok=True)
