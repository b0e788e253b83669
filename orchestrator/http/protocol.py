"""One connection: uvicorn's protocol, with who is at the other end looked at first, and heads bounded."""

from __future__ import annotations

import asyncio
import logging

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from orchestrator.control.unix import is_ours, uid_of
from orchestrator.http.failures import error_body
from orchestrator.http.peer import Peer

__all__ = ["DoorProtocol"]

log = logging.getLogger("penstock.http")

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's target and headers together; the parser itself has no bound."""


class HeadTooLarge(Exception):
    """A request's head is larger than MAX_HEAD_BYTES."""


class DoorProtocol(HttpToolsProtocol):
    """Hands each request its Peer, as `scope["state"]["peer"]`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = log
        self.access_log = False
        self._head_bytes = 0
        self._peer: Peer | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Refuse everybody but our own user and root, whatever the socket's mode has come to."""
        uid = uid_of(transport.get_extra_info("socket"))
        if is_ours(uid):
            self._peer = Peer(uid, transport, self.loop.create_future())
            self.app_state = {"peer": self._peer}
            super().connection_made(transport)
            return
        log.warning("http.refused", extra={"by": f"uid:{uid}"})
        self.transport = transport
        self._end(b"403 Forbidden", "penstock.other_user", "this socket is for its owner and root alone")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever works for this peer."""
        if self._peer is not None and not self._peer.lost.done():
            self._peer.lost.set_result(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless the connection is refused."""
        if self._peer is not None:
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def _count(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > MAX_HEAD_BYTES:
            raise HeadTooLarge  # the parser makes it the error that ends the connection

    def _unsupported_upgrade_warning(self) -> None:
        """Answer the request as what it is, and hang up: the parser reads nothing behind it."""
        self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Say that this is no request, and hang up."""
        text = "the head of the request is too large" if self._head_bytes > MAX_HEAD_BYTES else "no HTTP request"
        self._end(b"400 Bad Request", "penstock.bad_http", text)

    def _end(self, status: bytes, code: str, message: str) -> None:
        body = error_body(code, message)
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)
        self.transport.close()
