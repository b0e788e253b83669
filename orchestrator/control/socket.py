"""The door for commands: a Unix socket in the state folder, for its owner alone. A line of JSON in, a line out.

A stream is asked for in the same way. It is answered with an object a line, until it ends or the caller hangs up.

While a command is followed, the host sends empty lines, so that a caller can tell one that takes long from a host that
hangs. A host that stops hangs up on whoever waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from orchestrator.control.refusal import Answer, Refused

__all__ = ["SOCKET", "HostGone", "HostSilent", "NoHost", "ask", "follow", "served"]

log = logging.getLogger("penstock.control")

SOCKET = "control.sock"

MAX_COMMAND_BYTES = 64 * 1024
"""A command is a few names and a reason."""

MAX_ANSWER_BYTES = 512 * 2**20
"""Ten thousand summaries of runs with a hundred stages."""

BEAT_SECONDS = 2.0
"""How often a caller that waits hears that the host lives."""

SILENCE_SECONDS = 20.0
"""A host whose loop hangs for so long is told as such."""

MAX_SOCKET_PATH_BYTES = 100
"""What every Unix takes, and a little less: Linux 107, macOS 103."""


class NoHost(Exception):
    """No host serves the file now."""

    code = "penstock.no_host"
    hint = "a host is `penstock run` as long as it reads its input, or a program that embeds the orchestrator"


class HostGone(Exception):
    """The host ended while it followed the command."""

    code = "penstock.host_gone"
    hint = "`penstock runs show` says how far it came; what is journaled is taken up by the next start"


class HostSilent(Exception):
    """A host holds the socket, and says nothing."""

    code = "penstock.host_silent"
    hint = "its event loop hangs, or the machine is overloaded; look at the process that holds host.lock"


class Performer(Protocol):
    """Who follows commands."""

    async def perform(self, command: str, params: Mapping[str, object]) -> Answer:
        """Follow one. Raises Refused."""

    def stream(
        self, name: str, params: Mapping[str, object], by: str
    ) -> AsyncGenerator[Mapping[str, object], None] | None:
        """Begin a stream for `by`; None where `name` is none. Raises Refused, as the stream itself may."""


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's address. A Unix socket's path is short, a folder's may be long: go through its descriptor."""
    path = str(folder / SOCKET)
    if len(os.fsencode(path)) < MAX_SOCKET_PATH_BYTES or not os.path.isdir("/proc/self/fd"):
        yield path
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


@asynccontextmanager
async def served(performer: Performer, folder: Path, *, beat_seconds: float = BEAT_SECONDS) -> AsyncIterator[None]:
    """Answer commands while inside. Whoever holds `folder` may call this; a socket left by a dead host is replaced.

    `folder` has to be its owner's alone: the socket is nobody's between its making and its mode. Raises OSError.
    """
    (folder / SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(listener.close)
        with _address(folder) as address:
            listener.bind(address)
            os.chmod(address, 0o600)
        callers = _Callers(performer, beat_seconds)
        server = await asyncio.start_unix_server(callers.serve, sock=listener, limit=MAX_COMMAND_BYTES)
        undo.pop_all()
    try:
        yield
    finally:
        server.close()
        await callers.close()
        (folder / SOCKET).unlink(missing_ok=True)


class _Callers:
    """Those who are connected. Each is a task of the server's, ended with it."""

    def __init__(self, performer: Performer, beat_seconds: float) -> None:
        self._performer = performer
        self._beat_seconds = beat_seconds
        self._tasks = set[asyncio.Task[None]]()
        self._closing = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not self._closing and _is_ours(writer):
                await self._serve(reader, writer)
        except (OSError, ValueError) as error:  # ValueError: a line over the limit
            log.info("control.dropped", extra={"reason": str(error)})
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            with _Beat(reader, writer, self._beat_seconds) as beat:
                answer = await self._answer(line, writer, beat)
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter, beat: _Beat) -> Mapping[str, object]:
        try:
            asked = msgspec.json.decode(line, type=_Request)
            log.info("control.command", extra={"command": asked.command})
            stream = self._performer.stream(asked.command, asked.params, f"uid:{_uid(writer)}")
            if stream is None:
                return {"result": await self._performer.perform(asked.command, asked.params)}
            await _pump(stream, writer, beat)
            return {"end": True}
        except Refused as error:
            return _error(error.code, str(error), error.hint)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _error("penstock.bad_command", f"no command: {error}", "")
        except Exception:
            log.exception("control.crashed")
            return _error("penstock.internal", "the host failed while it followed the command", "its log says more")

    async def close(self) -> None:
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _pump(stream: AsyncGenerator[Mapping[str, object], None], writer: asyncio.StreamWriter, beat: _Beat) -> None:
    """Write what comes until it ends, or until a beat finds that the caller hung up."""
    try:
        async with asyncio.timeout(None) as patience, aclosing(stream):
            beat.patience = patience
            async for found in stream:
                writer.write(msgspec.json.encode({"item": found}) + b"\n")
                await writer.drain()
    except TimeoutError:
        if not patience.expired():
            raise
    finally:
        beat.patience = None


class _Beat:
    """Sends empty lines while inside. It ends the `patience` of a stream whose caller hung up."""

    patience: asyncio.Timeout | None = None

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
        self._reader = reader
        self._writer = writer
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> _Beat:
        self._alarm = self._loop.call_later(self._seconds, self._beat)
        return self

    def __exit__(self, *_: object) -> None:
        self._alarm.cancel()

    def _beat(self) -> None:
        if self.patience is not None and (self._reader.at_eof() or self._writer.is_closing()):
            self.patience.reschedule(self._loop.time())
        elif not self._writer.is_closing():
            self._writer.write(b"\n")
            self._alarm = self._loop.call_later(self._seconds, self._beat)


def _error(code: str, message: str, hint: str) -> Mapping[str, object]:
    return {"error": {"code": code, "message": message, "hint": hint}}


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    command: str
    params: dict[str, object] = {}


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    """Whether the caller is our own user, or root. The folder's mode says so already; this says it again."""
    return _uid(writer) in (0, os.geteuid())


def _uid(writer: asyncio.StreamWriter) -> int:
    """Whose process is at the other end. Where the system does not say, it is ours: nobody else may open the socket."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid()
    peer: socket.socket = writer.get_extra_info("socket")
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)


# The caller's side.


def ask(
    folder: Path, command: str, params: Mapping[str, object], *, silence_seconds: float = SILENCE_SECONDS
) -> Answer:
    """Ask the host that serves `folder`; waits as long as the command takes and the host lives.

    Raises Refused, NoHost, HostGone, HostSilent, and OSError where the socket is there and may not be used.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(silence_seconds)
        try:
            _connect(connection, folder)
            connection.sendall(msgspec.json.encode({"command": command, "params": dict(params)}) + b"\n")
            with connection.makefile("rb") as stream:
                line = _read(stream)
        except TimeoutError:
            raise HostSilent(f"the host of {folder} has said nothing for {silence_seconds:g} s") from None
        except (BrokenPipeError, ConnectionResetError):
            line = b""
    if not line.endswith(b"\n"):
        raise HostGone("the host ended before it answered")
    return _result(line)


def follow(
    folder: Path, stream: str, params: Mapping[str, object], *, silence_seconds: float = SILENCE_SECONDS
) -> Iterator[dict[str, object]]:
    """The objects of a stream of the host that serves `folder`, as they come. Close it to hang up.

    Raises as `ask` does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(silence_seconds)
        try:
            _connect(connection, folder)
            connection.sendall(msgspec.json.encode({"command": stream, "params": dict(params)}) + b"\n")
            with connection.makefile("rb") as lines:
                while (line := _read(lines)).endswith(b"\n"):
                    said = msgspec.json.decode(line, type=_Streamed)
                    if said.error is not None:
                        raise Refused(said.error.code, said.error.message, said.error.hint)
                    if said.item is None:
                        return
                    yield said.item
        except TimeoutError:
            raise HostSilent(f"the host of {folder} has said nothing for {silence_seconds:g} s") from None
        except (BrokenPipeError, ConnectionResetError):
            pass
    raise HostGone("the host ended")


def _connect(connection: socket.socket, folder: Path) -> None:
    try:
        with _address(folder) as address:
            connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        raise NoHost(f"no host serves {folder}") from error


class _Lines(Protocol):
    def readline(self, limit: int, /) -> bytes: ...


def _read(stream: _Lines) -> bytes:
    line = b"\n"
    while line == b"\n":
        line = stream.readline(MAX_ANSWER_BYTES)
    return line


def _result(line: bytes) -> Answer:
    said = msgspec.json.decode(line, type=_Reply)
    if said.error is not None:
        raise Refused(said.error.code, said.error.message, said.error.hint)
    return said.result


class _Error(msgspec.Struct):
    code: str
    message: str
    hint: str


class _Streamed(msgspec.Struct):
    item: dict[str, object] | None = None
    error: _Error | None = None
    end: bool = False


class _Reply(msgspec.Struct):
    result: dict[str, object] | list[dict[str, object]] = {}
    error: _Error | None = None
