"""The connections of the door: taken in, drained, ended within a bound. Sets no signal handler and no logging."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Mapping

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from orchestrator.http.peer import Peer
from orchestrator.http.protocol import DoorProtocol

__all__ = ["Server"]

KEEP_ALIVE_SECONDS = 75
"""Gateways pool connections; one that is closed just when it is used again costs a call a retry."""

BACKLOG = 1024
"""Connections that the kernel keeps until we take them in."""

LAST_SECONDS = 5.0
"""What requests may take to answer once everything is decided; a journal may still have to sync."""

LISTENER_SECONDS = 1.0
"""What a stream may take to end once it is told to; a listener that does not read never takes its end."""


class Server:
    """Serves `app` on a socket that is bound. `open`, then `drain`, then `close`, which may come twice."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        # asgi3, no lifespan, no websockets: nothing is looked for, nothing is imported that is not here.
        self._config = Config(
            app,
            http=DoorProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._listener = listener
        self._state = ServerState()

    async def open(self) -> None:
        """Take connections in from now on."""
        loop = asyncio.get_running_loop()
        self._config.load()
        self._server = await loop.create_unix_server(self._connection, sock=self._listener, backlog=BACKLOG)

    def _connection(self) -> asyncio.Protocol:
        return DoorProtocol(self._config, self._state, {})

    async def drain(self, seconds: float, hurried: asyncio.Event, besides: Collection[asyncio.Task[None]]) -> bool:
        """Take no connection and no further request in; wait until those under way are answered, at most so long.

        Ends sooner when `hurried` is set. Does not wait for `besides`. Returns whether all were answered.
        """
        self._turn_away()
        hurry = asyncio.ensure_future(hurried.wait())
        try:
            async with asyncio.timeout(seconds):
                while (left := self._state.tasks - set(besides)) and not hurry.done():
                    await asyncio.wait([*left, hurry], return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            pass
        finally:
            hurry.cancel()
            await asyncio.wait({hurry})
        return not left

    def _turn_away(self) -> None:
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()

    async def close(self, listeners: Mapping[asyncio.Task[None], Peer]) -> None:
        """Let those answer that are about to, then hang up on whoever is left, and end what works for them."""
        self._turn_away()
        if listeners:
            await asyncio.wait(list(listeners), timeout=LISTENER_SECONDS)
        for peer in list(listeners.values()):
            peer.transport.abort()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=LAST_SECONDS)
        for connection in list(self._state.connections):
            connection.transport.abort()
        for task in list(self._state.tasks):
            task.cancel()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks)
