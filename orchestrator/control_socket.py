"""The door for commands: a Unix socket in the state folder, for its owner alone. A line of JSON in, a line out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from orchestrator.control import Answer, Control, Refused

__all__ = ["NoHost", "ask", "served"]

log = logging.getLogger("penstock.control")

SOCKET = "control.sock"
MAX_LINE_BYTES = 64 * 2**20
"""Ten thousand summaries of runs with many stages."""

CONNECT_SECONDS = 2.0
"""A host that is alive accepts at once; one whose loop hangs for longer is told as such."""


class NoHost(Exception):
    """No host serves the file now."""

    code = "penstock.no_host"
    hint = "a host is `penstock run` as long as it reads its input, or a program that embeds the orchestrator"


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's address. A Unix socket's path is short, a folder's may be long: go through its descriptor."""
    path = str(folder / SOCKET)
    if len(path.encode()) < 100 or not os.path.isdir("/proc/self/fd"):
        yield path
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


@asynccontextmanager
async def served(control: Control, folder: Path) -> AsyncIterator[None]:
    """Answer commands while inside. Whoever holds `folder` may call this; a socket left by a dead host is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _address(folder) as address, contextlib.suppress(FileNotFoundError):
        os.unlink(address)
    with _address(folder) as address:
        mask = os.umask(0o177)
        try:
            listener.bind(address)
        finally:
            os.umask(mask)
    callers = _Callers(control)
    server = await asyncio.start_unix_server(callers.serve, sock=listener, limit=MAX_LINE_BYTES)
    try:
        yield
    finally:
        server.close()
        await callers.close()
        with _address(folder) as address, contextlib.suppress(FileNotFoundError):
            os.unlink(address)


class _Callers:
    """Those who are connected. Each is a task of the server's, ended with it."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._tasks = set[asyncio.Task[None]]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if _is_ours(writer):
                await self._serve(reader, writer)
        except (ConnectionError, asyncio.LimitOverrunError, ValueError) as error:
            log.warning("control.dropped", extra={"reason": str(error)})
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
            await writer.drain()

    async def _answer(self, line: bytes) -> Mapping[str, object]:
        try:
            asked = msgspec.json.decode(line, type=_Request)
            log.info("control.command", extra={"command": asked.command})
            return {"result": await self._control.perform(asked.command, asked.params)}
        except Refused as error:
            return {"error": {"code": error.code, "message": str(error), "hint": error.hint}}
        except msgspec.DecodeError as error:
            return {"error": {"code": "penstock.bad_command", "message": str(error), "hint": ""}}

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    command: str
    params: dict[str, object] = {}


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    """Whether the caller is our own user, or root. The folder's mode says so already; this says it again."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    peer: socket.socket = writer.get_extra_info("socket")
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return uid in (0, os.geteuid())


def ask(folder: Path, command: str, params: Mapping[str, object]) -> Answer:
    """Ask the host that serves `folder`; waits as long as the command takes. Raises NoHost and Refused."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_SECONDS)
        try:
            with _address(folder) as address:
                connection.connect(address)
        except OSError as error:
            raise NoHost(f"no host serves {folder}") from error
        connection.settimeout(None)
        connection.sendall(msgspec.json.encode({"command": command, "params": dict(params)}) + b"\n")
        with connection.makefile("rb") as stream:
            line = stream.readline(MAX_LINE_BYTES)
    if not line:
        raise NoHost("the host ended before it answered")
    return _result(line)


def _result(line: bytes) -> Answer:
    said = msgspec.json.decode(line, type=_Reply)
    if said.error is not None:
        raise Refused(said.error.code, said.error.message, said.error.hint)
    return said.result


class _Error(msgspec.Struct):
    code: str
    message: str
    hint: str


class _Reply(msgspec.Struct):
    result: dict[str, object] | list[dict[str, object]] = {}
    error: _Error | None = None
