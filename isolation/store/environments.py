"""Environments by fingerprint: found again when whole, built when not. Nothing half-built has a place in the store."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from isolation.errors import EnvironmentBuildError
from isolation.manifest.values import Manifest
from isolation.store.events import BuildEvent, Report
from isolation.store.failures import Doing, failure
from isolation.store.filelock import FileLock, LockMode, LockTimeout
from isolation.store.interpreters import Interpreter
from isolation.store.layout import Layout, Workplace
from isolation.store.lockfiles import Locked
from isolation.store.mirrored import for_mirror
from isolation.store.resolution import LAYOUT, Resolution
from isolation.store.seal import read_seal, write_seal
from isolation.store.uv import Uv, UvStopped
from isolation.store.vendored import from_folders, wheel_folders

__all__ = ["BUILD_WAIT_SECONDS", "Environments"]

BUILD_WAIT_SECONDS = 1800.0
"""How long to wait for another process that builds the same environment: as long as a build may take."""

_PYLOCK = "pylock.penstock.toml"
_FETCHED = re.compile(r"^\s*(Downloading|Downloaded|Building|Built|Prepared|Installed)\b(.*)$")


@dataclass(frozen=True, slots=True)
class _Order:
    """One environment that is wanted."""

    manifest: Manifest
    locked: Locked
    interpreter: Interpreter
    report: Report

    def tell(self, phase: str, detail: str, fraction: float | None = None) -> None:
        self.report(BuildEvent(self.manifest.name, phase, detail, fraction))

    @property
    def folder(self) -> str:
        return str(self.manifest.script or self.manifest.root)


class Environments:
    """The environments of one store. Callers hold a lease on the fingerprint."""

    def __init__(self, layout: Layout, uv: Uv) -> None:
        self._layout = layout
        self._uv = uv

    def is_whole(self, fingerprint: str) -> bool:
        """Tell whether an environment is there and undamaged."""
        facts = read_seal(self._layout.environment(fingerprint))
        return facts is not None and facts.get("fingerprint") == fingerprint

    def obtain(self, manifest: Manifest, locked: Locked, interpreter: Interpreter, report: Report) -> Path:
        """Return the environment, built if need be. Raises EnvironmentBuildError when it cannot be."""
        environment = self._layout.environment(locked.fingerprint)
        order = _Order(manifest, locked, interpreter, report)
        if self.is_whole(locked.fingerprint):
            order.tell("found", locked.fingerprint, 0.9)
            return environment
        with self._alone(order):
            if not self.is_whole(locked.fingerprint):
                self._layout.collect_leftovers()
                self._build(order, environment)
        return environment

    def _alone(self, order: _Order) -> FileLock:
        """Take the right to build, so that equal fingerprints are built once."""
        try:
            return FileLock.take(
                self._layout.lock(f"build-{order.locked.fingerprint}"),
                LockMode.EXCLUSIVE,
                within_seconds=BUILD_WAIT_SECONDS,
                waiting=lambda: order.tell("waiting", "somebody else builds the same environment"),
                stopped=lambda: self._uv.stopped,
            )
        except LockTimeout:
            if self._uv.stopped:
                raise UvStopped from None
            raise EnvironmentBuildError(
                order.manifest.name,
                f"another process has been building its environment for {BUILD_WAIT_SECONDS:.0f} s",
                hint="end that process, then try again",
            ) from None

    def _build(self, order: _Order, environment: Path) -> None:
        resolution = order.locked.resolution()
        self._check_sources(order, resolution)
        damaged = environment.exists()
        order.tell("environment", "repairing a damaged environment" if damaged else f"on {order.interpreter}", 0.15)
        with Workplace(self._layout) as place:
            venv = place.path / "venv"
            self._uv_step(
                order,
                Doing.VENV,
                [
                    "venv",
                    "--relocatable",
                    "--no-project",
                    "--quiet",
                    "--python",
                    order.interpreter.executable,
                    str(venv),
                ],
                place,
            )
            if resolution.packages:
                self._install(order, resolution, venv, place)
            (venv / "bin" / "python").stat()
            write_seal(venv, self._facts(order, resolution))
            place.publish(venv, environment)
        order.tell("built", order.locked.fingerprint, 0.9)

    def _install(self, order: _Order, resolution: Resolution, venv: Path, place: Workplace) -> None:
        source = self._write_source(order, resolution, place.path)
        total = len(resolution.packages)
        order.tell("install", f"{total} package{'s' if total > 1 else ''}", 0.25)
        seen = 0

        def heard(line: str) -> None:
            nonlocal seen
            match = _FETCHED.match(line)
            if match is not None:
                seen += match[1] in {"Downloaded", "Built"}
                order.tell("install", f"{match[1]}{match[2]}", 0.25 + 0.6 * min(seen / total, 1.0))

        arguments = ["pip", "sync", source, "--python", str(venv / "bin" / "python"), "--require-hashes"]
        arguments += [*self._build_rule(order, resolution), "--link-mode", "copy", "--preview-features", "pylock"]
        self._uv_step(order, Doing.INSTALL, arguments, place, heard=heard)

    def _write_source(self, order: _Order, resolution: Resolution, folder: Path) -> str:
        """Write down what to install for uv: the lock with wheels that are at hand, or names for a mirror."""
        mirrored = for_mirror(resolution, self._uv.environment)
        folders = wheel_folders(order.manifest, self._uv.environment)
        if mirrored is not None and not folders:
            (folder / "requirements.txt").write_text(mirrored, encoding="utf-8")
            return "requirements.txt"
        (folder / _PYLOCK).write_text(from_folders(order.locked.pylock, folders), encoding="utf-8")
        return _PYLOCK

    def _build_rule(self, order: _Order, resolution: Resolution) -> list[str]:
        """Refuse every build from source, or where some are allowed, every other one."""
        allowed = order.manifest.sdists
        if not any(package.name in allowed for package in resolution.packages):
            return ["--no-build"]
        refused = [package.name for package in resolution.packages if package.name not in allowed]
        return [word for name in refused for word in ("--only-binary", name)]

    def _check_sources(self, order: _Order, resolution: Resolution) -> None:
        python = order.interpreter.version
        refused = resolution.sources(python, exclude=order.manifest.sdists)
        if refused:
            raise EnvironmentBuildError(
                order.manifest.name,
                f"{', '.join(refused)}: there is no wheel, and building from source runs its code as you, which"
                " nobody has allowed",
                hint='choose a version with a wheel, or allow the build: `sdists = ["NAME"]` in [tool.penstock]',
            )
        for name in resolution.sources(python, exclude=frozenset()):
            order.tell("source", f"{name} is built from source: its build runs unconfined, as you")

    def _uv_step(
        self, order: _Order, doing: Doing, arguments: list[str], place: Workplace, heard: object = None
    ) -> None:
        listen = heard if callable(heard) else (lambda line: None)
        outcome = self._uv.run(arguments, cwd=place.path, keep=place.descriptor, heard=listen)
        if outcome.status != 0:
            raise failure(order.manifest.name, doing, outcome, folder=order.folder)

    def _facts(self, order: _Order, resolution: Resolution) -> dict[str, object]:
        interpreter = order.interpreter
        return {
            "layout": LAYOUT,
            "fingerprint": order.locked.fingerprint,
            "implementation": interpreter.implementation,
            "python": interpreter.version,
            "interpreter": interpreter.executable,
            "packages": [f"{package.name}=={package.version}" for package in resolution.packages],
            "created": time.time(),
        }
