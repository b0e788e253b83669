"""What a process takes up, as its operating system says: from /proc on Linux, nothing of others elsewhere."""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ProcessFigures", "host_figures", "worker_figures"]

_PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_UTIME, _STIME, _THREADS, _RSS = 11, 12, 17, 21
"""Places in /proc/PID/stat behind the command's name, proc(5)."""


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """One process, without its children. None where the system does not say."""

    cpu_seconds: float
    resident_bytes: int | None = None
    descriptors: int | None = None
    threads: int | None = None


def host_figures() -> ProcessFigures:
    """This process. Off Linux the memory is the most that it ever took up."""
    found = worker_figures(os.getpid())
    if found is not None:
        return found
    used = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, kilobytes elsewhere
    return ProcessFigures(used.ru_utime + used.ru_stime, used.ru_maxrss * unit)


def worker_figures(pid: int, proc: Path = _PROC) -> ProcessFigures | None:
    """A process of this user; None where it is gone, or where there is no /proc."""
    folder = f"{proc}/{pid}"
    try:
        with open(f"{folder}/stat", "rb") as file:
            # The name, in parentheses, may hold anything.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return ProcessFigures(
        cpu_seconds=(int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_PER_SECOND,
        resident_bytes=int(fields[_RSS]) * _PAGE_BYTES,
        descriptors=_descriptors(folder),
        threads=int(fields[_THREADS]),
    )


def _descriptors(folder: str) -> int | None:
    try:
        return len(os.listdir(f"{folder}/fd"))
    except OSError:
        return None
