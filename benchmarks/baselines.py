"""What penstock is compared with, in the same run on the same machine: a bare pipe, and the obvious program.

Run as a program this is the other end of either: `baselines.py pipe` or `baselines.py echo`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from types import TracebackType

__all__ = ["AsyncioEcho", "LoopPingPong", "PipePingPong"]

LIMIT_BYTES = 16 * 1024 * 1024


class PipePingPong:
    """Two Python processes, two pipes, blocking reads and writes of one line: the floor for any subprocess call."""

    def __enter__(self) -> PipePingPong:
        self._child = subprocess.Popen(
            [sys.executable, "-I", __file__, "pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self._child.stdin and self._child.stdout
        self._to, self._from = self._child.stdin.fileno(), self._child.stdout.fileno()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._child:
            pass

    def call(self, line: bytes) -> None:
        """Send one line, get it back."""
        os.write(self._to, line)
        left = len(line)
        while left:
            left -= len(os.read(self._from, 65536))


class LoopPingPong(PipePingPong):
    """The same pipes, awaited on an event loop: the floor for a host that has more than one thing to do."""

    def __enter__(self) -> LoopPingPong:
        super().__enter__()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._from, self._ready)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.remove_reader(self._from)
        super().__exit__(kind, error, trace)

    def _ready(self) -> None:
        self._left -= len(os.read(self._from, 65536))
        if not self._left:
            self._back.set_result(None)

    async def echo(self, line: bytes) -> None:
        """Send one line and wait until it is back."""
        self._left = len(line)
        self._back = self._loop.create_future()
        os.write(self._to, line)
        await self._back


class AsyncioEcho:
    """asyncio and json on both sides, one JSON line a message: what one writes first."""

    async def __aenter__(self) -> AsyncioEcho:
        self._child = await asyncio.create_subprocess_exec(
            sys.executable, "-I", __file__, "echo", stdin=-1, stdout=-1, limit=LIMIT_BYTES
        )
        self._pending: dict[int, asyncio.Future[object]] = {}
        self._number = 0
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._group.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdin
        self._child.stdin.close()
        await self._group.__aexit__(None, None, None)
        await self._child.wait()

    async def _read(self) -> None:
        assert self._child.stdout
        while line := await self._child.stdout.readline():
            message = json.loads(line)
            self._pending.pop(message["id"]).set_result(message["result"])

    async def call(self, payload: bytes) -> bytes:
        """Take JSON bytes in, echo them through the child, give JSON bytes back."""
        assert self._child.stdin
        self._number += 1
        answer = self._pending[self._number] = asyncio.get_running_loop().create_future()
        message = {"jsonrpc": "2.0", "id": self._number, "method": "echo", "params": json.loads(payload)}
        self._child.stdin.write(json.dumps(message).encode() + b"\n")
        await self._child.stdin.drain()
        return json.dumps(await answer).encode()


def _pipe() -> None:
    while data := os.read(0, 65536):
        os.write(1, data)


async def _echo() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LIMIT_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    while line := await reader.readline():
        message = json.loads(line)
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": message["params"]}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()


if __name__ == "__main__":
    if sys.argv[1] == "pipe":
        _pipe()
    else:
        asyncio.run(_echo())
