"""Numbered lines from a file, a pipe or a terminal, one at a time, on an event loop. Knows nothing of their meaning."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass

__all__ = ["MAX_LINE_BYTES", "Line", "LineReader"]

READ_BYTES = 256 * 1024
MAX_LINE_BYTES = 64 * 1024 * 1024
"""Four times the largest payload that a worker takes: a longer line is not worth holding."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end. `number` counts from 1, empty lines included; `text` is None when it was too long."""

    number: int
    text: bytes | None


class LineReader:
    """Reads an open descriptor. `position` and `size` tell how far it is; `size` is None where nobody can know."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        # Neither epoll nor kqueue watches a regular file; reading one never waits for anybody.
        self._waits = not stat.S_ISREG(status.st_mode)
        self.size = None if self._waits else status.st_size
        self.position = 0

    async def lines(self) -> AsyncIterator[Line]:
        """Every line that is not blank, as soon as it is complete; the last one may lack its end."""
        number, held, overlong = 1, bytearray(), False
        while chunk := await self._read():
            self.position += len(chunk)
            *complete, rest = chunk.split(b"\n")
            for part in complete:
                held += part
                if overlong or held.strip():
                    yield Line(number, None if overlong or len(held) > MAX_LINE_BYTES else bytes(held))
                number, held, overlong = number + 1, bytearray(), False
            held += rest
            if len(held) > MAX_LINE_BYTES:
                held, overlong = bytearray(), True
        if overlong or held.strip():
            yield Line(number, None if overlong else bytes(held))

    async def _read(self) -> bytes:
        if self._waits:
            await _readable(self._descriptor)
        return os.read(self._descriptor, READ_BYTES)


async def _readable(descriptor: int) -> None:
    # A thread that sits in read() could not be stopped by Ctrl-C; the loop's own wait can.
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(descriptor, _resolve, ready)
    except (PermissionError, ValueError, OSError):
        return  # /dev/null and its like: always readable, never watched
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
