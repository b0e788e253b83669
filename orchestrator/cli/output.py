"""Bytes to stdout that never hold up the event loop: a reader that pauses us must not let a stage miss its deadline."""

from __future__ import annotations

import asyncio
import os
import select
import stat

__all__ = ["Output"]


class Output:
    """Writes whole records to a descriptor, at once. Raises BrokenPipeError when its reader went away."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waits = not stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    async def write(self, data: bytes) -> None:
        """Return when all of `data` is written."""
        if not self._waits:
            _write_all(self._descriptor, data)
            return
        rest = memoryview(data)
        while rest:
            if not self._poll.poll(0):
                await self._writable()
            # A pipe that is writable takes PIPE_BUF bytes without blocking; more of them it might not.
            rest = rest[os.write(self._descriptor, rest[: select.PIPE_BUF]) :]

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self._descriptor, _resolve, ready)
        try:
            await ready
        finally:
            loop.remove_writer(self._descriptor)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
