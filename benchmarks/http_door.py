"""The HTTP door on this loop, and a client that costs as little as one can: requests made once, answers hardly read."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

from orchestrator.control.unix import bound
from orchestrator.http.app import App
from orchestrator.http.server import Server
from orchestrator.http.standing import Standing
from orchestrator.orchestrator import Orchestrator

__all__ = ["HttpClient", "HttpDoor"]

_LENGTH = b"content-length: "


class _Connection(asyncio.Protocol):
    """One request at a time."""

    transport: asyncio.Transport
    answer: asyncio.Future[bytes] | None = None

    def __init__(self) -> None:
        self._read = bytearray()

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionError("the host hung up"))

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if found and len(body) == int(head.partition(_LENGTH)[2].partition(b"\r\n")[0]):
            self._read = bytearray()
            assert self.answer is not None
            self.answer.set_result(bytes(body))


class HttpClient:
    """Asks whoever listens at a Unix socket; `call` takes a free connection, or makes one. Leaving hangs up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._free: list[_Connection] = []
        self._made: list[asyncio.Transport] = []

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        for transport in self._made:
            transport.close()

    @staticmethod
    def request(hook: str, payload: bytes, context: bytes) -> bytes:
        """A request as a client sends it."""
        body = b'{"payload":%b,"context":%b}' % (payload, context)
        head = f"POST /v1/hooks/{hook} HTTP/1.1\r\nhost: penstock\r\ncontent-type: application/json\r\n"
        return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body

    async def call(self, request: bytes) -> bytes:
        """Send it and wait for the whole answer. Raises ConnectionError when the host hangs up."""
        loop = asyncio.get_running_loop()
        if not self._free:
            transport, made = await loop.create_unix_connection(_Connection, str(self._path))
            made.transport = transport
            self._made.append(transport)
            self._free.append(made)
        connection = self._free.pop()
        connection.answer = loop.create_future()
        connection.transport.write(request)
        answer = await connection.answer
        self._free.append(connection)
        return answer


class HttpDoor:
    """Use it as an async context manager; `call` takes a free connection, or makes one."""

    def __init__(self, penstock: Orchestrator) -> None:
        self._penstock = penstock

    async def __aenter__(self) -> HttpDoor:
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "door.sock"
        self._standing = Standing()
        self._standing.serve(self._penstock)
        self._server = Server(App.of(self._standing), bound(path))
        await self._server.open()
        self._client = HttpClient(path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.__exit__()
        await self._server.close({})
        self._folder.cleanup()

    @staticmethod
    def request(hook: str, payload: bytes, context: bytes) -> bytes:
        """A request as a client sends it."""
        return HttpClient.request(hook, payload, context)

    async def call(self, request: bytes) -> bytes:
        """Send it and wait for the whole answer."""
        return await self._client.call(request)

    async def check(self, request: bytes) -> None:
        """Make sure that what is measured is a verdict."""
        answer = json.loads(await self.call(request))
        assert answer["verdict"] == "allow", answer
