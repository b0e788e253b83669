"""uv: the right version, able to make an environment here, and (only when asked) a package index that answers it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from orchestrator.doctor.finding import Finding, error, ok

__all__ = ["cache_folder", "examine_installer", "find_uv"]

UV_SECONDS = 60.0
"""The longest that one question to uv may take; only the index ever needs more than a second."""

REASON_CHARACTERS = 300


def find_uv() -> Path | None:
    """The binary that came with the uv distribution, or None."""
    try:
        from uv import find_uv_bin

        return Path(os.fspath(find_uv_bin()))
    except (ImportError, FileNotFoundError):
        return None


def examine_installer(uv: Path | None, *, online: bool) -> Iterator[Finding]:
    """Look at uv and try it."""
    yield _version(uv)
    if uv is not None:
        yield _virtual_environment(uv)
        if online:
            yield _index(uv)


def cache_folder(uv: Path) -> Path | None:
    """Where uv keeps packages; None when it does not say."""
    try:
        said = _run([str(uv), "cache", "dir"]).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Path(said) if said else None


def _run(command: list[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=UV_SECONDS, check=False)


def _wanted_version() -> str:
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires("penstock") or []]
    except PackageNotFoundError:
        return ""
    return next((str(each.specifier) for each in wanted if each.name == "uv"), "")


def _version(uv: Path | None) -> Finding:
    from packaging.specifiers import SpecifierSet

    wanted = _wanted_version()
    remedy = f"install the version that Penstock was made with: `pip install 'uv{wanted}'`"
    if uv is None:
        return error("uv", "its binary is missing", remedy)
    try:
        words = _run([str(uv), "--version"]).stdout.split()
    except (OSError, subprocess.TimeoutExpired) as failure:
        return error("uv", f"{uv} does not run: {failure}", remedy)
    found = words[1] if len(words) > 1 else "unknown"
    if found == "unknown" or found not in SpecifierSet(wanted):
        return error("uv", f"{found} at {uv}, but Penstock needs {wanted}", remedy)
    return ok("uv", f"{found} at {uv}")


def _virtual_environment(uv: Path) -> Finding:
    subject, started = "environments", time.monotonic()
    with tempfile.TemporaryDirectory(prefix="penstock-doctor-") as folder:
        made = f"{folder}/venv"
        try:
            built = _run([str(uv), "venv", "--no-project", "--python", sys.executable, made])
            ran = _run([f"{made}/bin/python", "-I", "-c", "print('fine')"])
        except (OSError, subprocess.TimeoutExpired) as failure:
            return error(
                subject, f"an empty one could not be made: {failure}", "see what uv says; make room and try again"
            )
    if built.returncode or ran.stdout.strip() != "fine":
        reason = _reason(built.stderr + ran.stderr)
        return error(subject, f"an empty one could not be made: {reason}", "`uv python install` brings an interpreter")
    return ok(subject, f"an empty one is made and starts in {(time.monotonic() - started) * 1000:.0f} ms, without pip")


def _index(uv: Path) -> Finding:
    subject = "package index"
    remedy = "check network, proxy variables and uv's index settings; `--offline` works from what is cached"
    command = [str(uv), "pip", "compile", "--python", sys.executable, "--no-cache", "--no-deps", "--quiet", "-"]
    try:
        answer = _run(command, "click\n")
    except (OSError, subprocess.TimeoutExpired) as failure:
        return error(subject, str(failure), remedy)
    return error(subject, _reason(answer.stderr), remedy) if answer.returncode else ok(subject, "answers")


def _reason(stderr: str) -> str:
    return " ".join(stderr.split())[-REASON_CHARACTERS:] or "uv gave no reason"
