"""The machine: platform, interpreter, compiled libraries, what the kernel offers for watching and ending workers."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version

from orchestrator.doctor.finding import Finding, error, ok, warning

__all__ = ["examine_machine", "judge_open_files", "judge_platform"]

FILES_WANTED = 1024
"""A worker takes four descriptors of the host; locks, inputs and the interpreter need a few more."""

FILES_PER_WORKER = 4

_PR_GET_PDEATHSIG = 2


def examine_machine() -> Iterator[Finding]:
    """Look at everything that is the same whatever pipeline runs."""
    yield judge_platform(platform.system(), platform.machine(), platform.release())
    yield ok("python", f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}")
    yield _library("cel-expr-python", "cel_expr_python.cel")
    yield _library("msgspec", "msgspec")
    yield _parent_death()
    yield _process_descriptors()
    yield judge_open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))


def judge_platform(system: str, machine: str, release: str) -> Finding:
    """Linux on x86-64 and aarch64 is the platform; macOS runs it for development."""
    here = f"{system} {release}, {machine}"
    if system == "Linux" and machine in ("x86_64", "aarch64"):
        return ok("platform", here)
    if system == "Linux":
        return warning("platform", f"{here}: not among the tested ones", "use x86-64 or aarch64 in production")
    if system == "Darwin":
        message = f"{here}: workers may outlive a killed host, and there is no sandbox"
        return warning("platform", message, "develop here, run production on Linux")
    return error("platform", f"{here} is not supported", "use Linux; macOS serves for development")


def _library(distribution: str, module: str) -> Finding:
    try:
        import_module(module)
    except ImportError as failure:
        remedy = "reinstall Penstock: `pip install --force-reinstall penstock`"
        return error(distribution, f"cannot be imported: {failure}", remedy)
    return ok(distribution, version(distribution))


def _parent_death() -> Finding:
    subject = "parent death"
    try:
        answer = ctypes.CDLL(None).prctl(_PR_GET_PDEATHSIG, ctypes.byref(ctypes.c_int()))
    except (AttributeError, OSError):
        answer = -1
    if answer == 0:
        return ok(subject, "the kernel ends workers when the host is killed")
    message = "the kernel does not end workers when the host is killed (no PR_SET_PDEATHSIG)"
    return warning(subject, message, "after a SIGKILL of the host, end by hand the workers that are left")


def _process_descriptors() -> Finding:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as failure:
        message = f"no pidfd ({failure}): the end of a worker is noticed by polling"
        return warning("pidfd", message, "use Linux 5.3 or newer, and a sandbox that allows pidfd_open")
    return ok("pidfd", "the end of a worker is noticed at once")


def judge_open_files(soft: int, hard: int) -> Finding:
    """Whether the limits of open files leave room for workers."""
    if soft == resource.RLIM_INFINITY:
        return ok("open files", "unlimited")
    if soft >= FILES_WANTED:
        return ok("open files", f"at most {soft}")
    raisable = hard == resource.RLIM_INFINITY or hard >= FILES_WANTED
    remedy = f"raise it: `ulimit -n {FILES_WANTED}`" if raisable else "raise the hard limit of open files"
    return warning("open files", f"at most {soft}: room for about {soft // FILES_PER_WORKER} workers", remedy)
