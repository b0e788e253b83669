"""Runs a plugin's own tests in an environment of their own: what the plugin needs, its `dev` group, pytest.

The environment is kept beside the store and never in the author's folder. It is for tests only: no worker starts
from it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from isolation.errors import EnvironmentBuildError
from isolation.manifest import Manifest, SourceKind
from isolation.spec import LAUNCHER
from isolation.store.filelock import FileLock, LockMode
from isolation.store.interpreters import Interpreters
from isolation.store.sources import NO_BUILD
from isolation.store.uv import Uv, uv_environment

__all__ = ["TEST_WAIT_SECONDS", "run_tests"]

TEST_WAIT_SECONDS = 600.0
"""How long to wait for another `penstock plugin test` that builds the same environment."""

_FILES_THAT_MATTER = ("pyproject.toml", "uv.lock", "requirements.txt")


def run_tests(
    manifest: Manifest,
    arguments: Sequence[str] = (),
    *,
    store: Path,
    offline: bool = False,
    heard: Callable[[str], None] = lambda line: None,
) -> int:
    """Run pytest with `arguments` in the plugin's folder and return its exit status (5: no test was found).

    `heard` is told uv's lines while the environment is built. Raises EnvironmentBuildError when it cannot be.
    """
    python = _environment(manifest, store, Uv(uv_environment(os.environ), offline=offline), heard)
    command = [str(python), "-B", "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=manifest.root, env=_test_variables(manifest), check=False).returncode


def _test_variables(manifest: Manifest) -> dict[str, str]:
    dropped = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST")
    variables = {name: value for name, value in os.environ.items() if name not in dropped}
    # penstock_plugin comes by path, as it does in a worker, and the plugin's own modules beside it.
    path = os.pathsep.join((str(manifest.root), str(LAUNCHER.parent)))
    return {**variables, **manifest.env_set, "PYTHONPATH": path}


def _environment(manifest: Manifest, store: Path, uv: Uv, heard: Callable[[str], None]) -> Path:
    """The interpreter of the test environment, built again only when what it is made from has changed."""
    (store / "testing").mkdir(parents=True, exist_ok=True)
    interpreter = Interpreters(store / "interpreters.json", uv).choose(manifest.name, manifest.requires_python)
    home = store / "testing" / hashlib.sha256(str(manifest.root).encode()).hexdigest()[:16]
    python, stamp = home / "bin" / "python", home / "penstock-stamp"
    wanted = _ingredients(manifest, interpreter.executable)
    lock = FileLock.take(home.with_suffix(".lock"), LockMode.EXCLUSIVE, within_seconds=TEST_WAIT_SECONDS)
    try:
        if not stamp.is_file() or stamp.read_text() != wanted or not python.exists():
            _build(manifest, home, interpreter.executable, uv, heard)
            stamp.write_text(wanted)
    finally:
        lock.release()
    return python


def _ingredients(manifest: Manifest, interpreter: str) -> str:
    digest = hashlib.sha256(interpreter.encode())
    files = [manifest.root / name for name in _FILES_THAT_MATTER]
    for file in [*files, *([manifest.script] if manifest.script else [])]:
        digest.update(file.read_bytes() if file.is_file() else b"-")
    return digest.hexdigest()


def _build(manifest: Manifest, home: Path, interpreter: str, uv: Uv, heard: Callable[[str], None]) -> None:
    def run(*arguments: str) -> bytes:
        outcome = uv.run(arguments, cwd=manifest.root, heard=heard)
        if outcome.status != 0:
            raise EnvironmentBuildError(
                manifest.name,
                "the environment for its tests could not be built",
                hint="the resolver's lines say what is missing; `penstock plugin lock` writes a new lock",
                resolver="\n".join(outcome.lines),
            )
        return outcome.output

    run("venv", "--no-project", "--clear", "--python", interpreter, str(home))
    install = ["pip", "install", "--python", str(home / "bin" / "python")]
    if not manifest.sdists:
        install.append(NO_BUILD)
    wanted = _requirements(manifest, home, run)
    if wanted:
        run(*install, *wanted)
    if not any(home.glob("lib/python*/site-packages/pytest")):
        run(*install, "pytest>=8")


def _requirements(manifest: Manifest, home: Path, run: Callable[..., bytes]) -> list[str]:
    """What to install, as arguments of `uv pip install`."""
    project = manifest.root / "pyproject.toml"
    groups = _groups(project)
    wanted_group = ["--group", "dev"] if "dev" in groups else []
    if manifest.kind is SourceKind.SCRIPT:
        return list(manifest.dependencies)
    sources = [] if manifest.sdists else [NO_BUILD]
    if manifest.kind is SourceKind.PROJECT and (manifest.root / "uv.lock").is_file():
        exported = home / "requirements.txt"
        run("export", "--locked", "--all-extras", "--no-emit-project", "--format", "requirements.txt", "--quiet",
            "--output-file", str(exported), *sources, *(wanted_group or ["--no-dev"]))  # fmt: skip
        return ["--requirement", str(exported)]
    if manifest.kind is SourceKind.PROJECT:
        return ["--requirement", str(project), "--all-extras", *wanted_group]
    if manifest.kind is SourceKind.REQUIREMENTS:
        return ["--requirement", "requirements.txt", *wanted_group]
    return wanted_group


def _groups(project: Path) -> Mapping[str, object]:
    if not project.is_file():
        return {}
    found: Mapping[str, object] = tomllib.loads(project.read_text(encoding="utf-8")).get("dependency-groups", {})
    return found
