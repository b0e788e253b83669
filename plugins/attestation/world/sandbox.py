"""One verification in one child, forked from this warm process and killed when it takes too much.

The limits are read from the child's own clocks: timers of the kernel whose signals nothing handles, so that they end
the child even inside a library that never comes back. The parent's own wait is a second line and longer.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import NoReturn

from attest.strictjson import Json, NotJson, read_object

__all__ = ["DIALLING", "VERIFYING", "Died", "Limits", "run_apart"]

_GRACE_SECONDS = 1.0
"""How much longer than the child's own limit the parent waits: only a child that cannot even die gets so far."""

_MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""What a child may say: the largest evidence, in base64, with room."""

_MAX_DATA_BYTES = 1024 * 1024 * 1024
"""Memory that a child may take beyond what it shares with its parent: a library may have set some aside there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may take. Without `opens`, it can open no file and no socket."""

    cpu_seconds: float
    wall_seconds: float
    opens: bool = False


VERIFYING = Limits(cpu_seconds=0.25, wall_seconds=5.0)
"""A verdict takes 1-10 ms of CPU; the wall is for machines that are busy with something else."""

DIALLING = Limits(cpu_seconds=0.25, wall_seconds=10.0, opens=True)
"""Resolving, connecting and asking: mostly waiting."""


class Died(Exception):
    """The child ended without an answer; `code` says what it died of."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


def run_apart(function: Callable[[], dict[str, Json]], limits: Limits) -> dict[str, Json]:
    """Call `function` in a child and return the object it answers. Raises Died."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    child = os.fork()
    if child == 0:
        _be_child(function, limits, writing)
    os.close(writing)
    ended = os.pidfd_open(child)
    answer, status = b"", 0
    try:
        answer = _read(reading, ended, monotonic() + limits.wall_seconds + _GRACE_SECONDS)
    finally:
        os.close(reading)
        os.close(ended)
        # It is not reaped yet, so its number is still its own. What it forked is in its group.
        for end in (os.kill, os.killpg):
            with suppress(ProcessLookupError):
                end(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    try:
        return _answer(answer)
    except NotJson:
        raise _death(status) from None


def _read(reading: int, ended: int, until: float) -> bytes:
    """Read until the child lets go of the pipe or ends, says too much, or is too late.

    Nobody waits for what a child forked and left its pipe to.
    """
    pieces: list[bytes] = []
    size = 0
    waiter = select.poll()
    waiter.register(reading, select.POLLIN)
    waiter.register(ended, select.POLLIN)
    while size <= _MAX_ANSWER_BYTES:
        ready = dict(waiter.poll(max(0.0, until - monotonic()) * 1000))
        if not ready:
            break
        try:
            piece = os.read(reading, 65536)
        except BlockingIOError:
            piece = b""
            if ended not in ready:
                continue
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
    return b""


def _answer(data: bytes) -> dict[str, Json]:
    """The last byte says that the answer is whole."""
    if not data.endswith(b"\n"):
        raise NotJson("not whole")
    return read_object(data)


def _death(status: int) -> Died:
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number in (signal.SIGPROF, signal.SIGALRM, signal.SIGXCPU):
        clock = "wall" if number == signal.SIGALRM else "CPU"
        return Died("C-TIMEOUT", f"killed by its limit of {clock} time")
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == _FAULT:
        return Died("C-VERIFIER-FAULT", "the verifier raised what it does not handle")
    how = signal.Signals(number).name if number else f"exit status {os.waitstatus_to_exitcode(status)}"
    return Died("C-VERIFIER-CRASH", f"ended by {how}")


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
"""prctl(2): a child does not outlive the worker that forked it."""

_FAULT = 70  # EX_SOFTWARE of sysexits.h


def _be_child(function: Callable[[], dict[str, Json]], limits: Limits, writing: int) -> NoReturn:
    status = 1
    try:
        _restrict(limits)
        data = json.dumps(function()).encode() + b"\n"
        while data:
            data = data[os.write(writing, data) :]
        status = 0
    except Exception:  # noqa: BLE001 - whatever it is, it is this input's own error and has a code of its own
        status = _FAULT
    finally:
        # No clean-up of the parent's things: they are the parent's.
        os._exit(status)


def _data_bytes() -> int:
    """What RLIMIT_DATA counts of this process now; proc(5), the sixth figure of statm."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * resource.getpagesize()


def _restrict(limits: Limits) -> None:
    os.setpgid(0, 0)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGPROF, signal.SIGALRM, signal.SIGXCPU, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.setitimer(signal.ITIMER_PROF, limits.cpu_seconds)
    signal.setitimer(signal.ITIMER_REAL, limits.wall_seconds)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Timers are not inherited by what a child forks, this limit is; it counts whole seconds.
    whole = ceil(limits.cpu_seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
    with suppress(ValueError):  # a lower limit of the machine's is as good
        most = _data_bytes() + _MAX_DATA_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    if not limits.opens:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
