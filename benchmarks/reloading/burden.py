"""The CPU that a host uses, and as much of it used up for nothing by children of ours."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

__all__ = ["Burners", "burning", "cpu_seconds", "living", "workers"]

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")

_BURN = """
import sys, time
for line in sys.stdin:
    cpu, seconds = map(float, line.split())
    begun, pieces = time.monotonic(), int(cpu / 0.01) + 1
    for piece in range(1, pieces + 1):
        end = time.process_time() + cpu / pieces
        while time.process_time() < end:
            pass
        time.sleep(max(0.0, begun + seconds * piece / pieces - time.monotonic()))
    print(flush=True)
"""


def living(pid: int) -> Iterator[int]:
    """Every descendant of a process."""
    with suppress(OSError):  # it may end meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                yield child
                yield from living(child)


def workers(pid: int) -> int:
    """How many workers of plugins a host has. What its store starts is none."""
    return sum(b"launch.py" in _command(child) for child in living(pid))


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def cpu_seconds(pid: int, *, alone: bool = False) -> float:
    """What a process has used so far, with its descendants, dead ones included, unless it is asked of alone."""
    used = _used(pid, ended=not alone)
    return used if alone else used + sum(_used(child, ended=True) for child in living(pid))


def _used(pid: int, *, ended: bool) -> float:
    with suppress(OSError):
        # After the name, which may hold anything: utime and stime are fields 14 and 15, those of ended children follow.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11 : 15 if ended else 13])) * _TICK_SECONDS
    return 0.0


class Burners:
    """Processes that burn what they are told to, as long and as wide as what they stand in for."""

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self._processes = processes

    async def burn(self, cpu: float, seconds: float) -> None:
        """Use up so much CPU, spread over that time, on as many processes as are needed for it."""
        wide = min(len(self._processes), max(1, math.ceil(cpu / seconds)))
        await asyncio.gather(*(_burn(process, cpu / wide, seconds) for process in self._processes[:wide]))


async def _burn(process: asyncio.subprocess.Process, cpu: float, seconds: float) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{cpu} {seconds}\n".encode())
    await process.stdout.readline()


@asynccontextmanager
async def burning() -> AsyncIterator[Burners]:
    """Burners, one for each CPU."""
    command = [sys.executable, "-I", "-S", "-c", _BURN]
    processes = []
    try:
        for _ in range(len(os.sched_getaffinity(0))):
            process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
            processes.append(process)
        yield Burners(processes)
    finally:
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
