"""The door for commands: a Unix socket in the state folder, for its owner alone. A line of JSON in, a line out.

While a command is followed, the host sends empty lines, so that a caller can tell one that takes long from a host that
hangs. A host that stops hangs up on whoever waits. A stream answers with a line for each of its objects, until it ends
or its caller hangs up or says anything more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from orchestrator.control.following import followed
from orchestrator.control.refusal import Actor, Answer, Refused, actor_of
from orchestrator.control.unix import address_of, bound, is_ours, uid_of

__all__ = ["SOCKET", "HostGone", "HostSilent", "NoHost", "ask", "ask_stream", "served"]

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


class NoHost(Exception):
    """No host serves the file now."""

    code = "penstock.no_host"
    hint = "`penstock serve` starts one; `penstock run` is one as long as it reads its input"


class HostGone(Exception):
    """The host ended while it followed the command."""

    code = "penstock.host_gone"
    hint = "`penstock runs show` says how far it came; what is journaled is taken up by the next start"


class HostSilent(Exception):
    """A host holds the socket, and says nothing."""

    code = "penstock.host_silent"
    hint = "its event loop hangs, or the machine is overloaded; look at the process that holds host.lock"


class Performer(Protocol):
    """Who follows commands, and gives streams."""

    @property
    def streams(self) -> Mapping[str, object]:
        """The names of those commands that are streams."""

    async def perform(self, command: str, params: Mapping[str, object], *, by: Actor) -> Answer:
        """Follow one. Raises Refused."""

    def stream(self, name: str, params: Mapping[str, object], *, by: Actor) -> AsyncIterator[Mapping[str, object]]:
        """Begin one. Raises Refused, then or when it is asked for an object."""


@asynccontextmanager
async def served(performer: Performer, folder: Path, *, beat_seconds: float = BEAT_SECONDS) -> AsyncIterator[None]:
    """Answer commands while inside. Whoever holds `folder` may call this; a socket left by a dead host is replaced.

    `folder` has to be its owner's alone: the socket is nobody's between its making and its mode. Raises OSError.
    """
    (folder / SOCKET).unlink(missing_ok=True)
    listener = bound(folder / SOCKET)
    with contextlib.ExitStack() as undo:
        undo.callback(listener.close)
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
    """Those who are connected. Each is a task of ours, ended with the server."""

    def __init__(self, performer: Performer, beat_seconds: float) -> None:
        self._performer = performer
        self._beat_seconds = beat_seconds
        self._tasks = set[asyncio.Task[None]]()
        self._closing = False

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of asyncio's own would print a traceback when it is cancelled, up to Python 3.12.
        task = asyncio.get_running_loop().create_task(self._connected(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            uid = uid_of(writer.get_extra_info("socket"))
            if not self._closing and is_ours(uid):
                await self._serve(reader, writer, actor_of(uid))
        except (OSError, ValueError) as error:  # ValueError: a line over the limit
            log.info("control.dropped", extra={"reason": str(error)})
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, by: Actor) -> None:
        while line := await reader.readline():
            answer, streamed = await self._answer(line, reader, writer, by)
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()
            if streamed:
                return

    async def _answer(
        self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, by: Actor
    ) -> tuple[Mapping[str, object], bool]:
        """What is said last, and whether that ended a stream."""
        streamed = False
        try:
            asked = msgspec.json.decode(line, type=_Request)
            log.info("control.command", extra={"command": asked.command, "by": by})
            streamed = asked.command in self._performer.streams
            if streamed:
                await self._stream(asked, reader, writer, by)
                return {"result": {}}, True
            with _Beat(writer, self._beat_seconds):
                return {"result": await self._performer.perform(asked.command, asked.params, by=by)}, False
        except Refused as error:
            return _error(error.code, str(error), error.hint), streamed
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _error("penstock.bad_command", f"no command: {error}", ""), False
        except ConnectionError:
            raise  # the caller went away
        except Exception:
            log.exception("control.crashed")
            text = "the host failed while it followed the command"
            return _error("penstock.internal", text, "its log says more"), streamed

    async def _stream(
        self, asked: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, by: Actor
    ) -> None:
        stream = self._performer.stream(asked.command, asked.params, by=by)
        said_more = asyncio.ensure_future(reader.read(1))
        try:
            async with aclosing(followed(stream, said_more, beat_seconds=self._beat_seconds)) as items:
                async for item in items:
                    writer.write(b"\n" if item is None else msgspec.json.encode({"item": item}) + b"\n")
                    await writer.drain()
        finally:
            said_more.cancel()
            await asyncio.wait({said_more})

    async def close(self) -> None:
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Beat:
    """Sends empty lines while inside."""

    def __init__(self, writer: asyncio.StreamWriter, seconds: float) -> None:
        self._writer = writer
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> None:
        self._alarm = self._loop.call_later(self._seconds, self._beat)

    def __exit__(self, *_: object) -> None:
        self._alarm.cancel()

    def _beat(self) -> None:
        if not self._writer.is_closing():
            self._writer.write(b"\n")
            self._alarm = self._loop.call_later(self._seconds, self._beat)


def _error(code: str, message: str, hint: str) -> Mapping[str, object]:
    return {"error": {"code": code, "message": message, "hint": hint}}


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    command: str
    params: dict[str, object] = {}


# The caller's side.

_GONE = "the host ended before it answered"


def ask(
    folder: Path, command: str, params: Mapping[str, object], *, silence_seconds: float = SILENCE_SECONDS
) -> Answer:
    """Ask the host that serves `folder`; waits as long as the command takes and the host lives.

    Raises Refused, NoHost, HostGone, HostSilent, and OSError where the socket is there and may not be used.
    """
    with _asked(folder, command, params, silence_seconds) as stream:
        return _said(_read(stream)).result


def ask_stream(
    folder: Path, command: str, params: Mapping[str, object], *, silence_seconds: float = SILENCE_SECONDS
) -> Iterator[Mapping[str, object]]:
    """Each object of a stream as it comes, until the stream ends. Whoever stops iterating closes this, and hangs up.

    Raises what `ask` does, HostGone when the host stops.
    """
    with _asked(folder, command, params, silence_seconds) as stream:
        while (said := _said(_read(stream))).item is not None:
            yield said.item


@contextmanager
def _asked(folder: Path, command: str, params: Mapping[str, object], silence_seconds: float) -> Iterator[_Lines]:
    """What the host says to a command, line by line."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(silence_seconds)
        try:
            _connect(connection, folder)
            connection.sendall(msgspec.json.encode({"command": command, "params": dict(params)}) + b"\n")
            with connection.makefile("rb") as stream:
                yield stream
        except TimeoutError:
            raise HostSilent(f"the host of {folder} has said nothing for {silence_seconds:g} s") from None
        except (BrokenPipeError, ConnectionResetError):
            raise HostGone(_GONE) from None


def _connect(connection: socket.socket, folder: Path) -> None:
    try:
        with address_of(folder / SOCKET) as address:
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


def _said(line: bytes) -> _Reply:
    if not line.endswith(b"\n"):
        raise HostGone(_GONE)
    said = msgspec.json.decode(line, type=_Reply)
    if said.error is not None:
        raise Refused(said.error.code, said.error.message, said.error.hint)
    return said


class _Error(msgspec.Struct):
    code: str
    message: str
    hint: str


class _Reply(msgspec.Struct):
    result: dict[str, object] | list[dict[str, object]] = {}
    error: _Error | None = None
    item: dict[str, object] | None = None
