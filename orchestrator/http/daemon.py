"""One host with its door, from the first look at the socket until the last answer. Who stops it says so with `stop`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from orchestrator.http.app import App
from orchestrator.http.place import taken
from orchestrator.http.server import Server
from orchestrator.http.standing import Standing
from orchestrator.orchestrator import Orchestrator

__all__ = ["Daemon"]

log = logging.getLogger("penstock.http")

Opening = Callable[[Standing], AbstractAsyncContextManager[Orchestrator]]
"""Opens the orchestrator; it tells the standing how far its plugins are."""


class Daemon:
    """`serve` it once. The first `stop` lets calls under way end within `drain_seconds`, the second denies them."""

    def __init__(self, socket: Path, *, drain_seconds: float) -> None:
        self._socket = socket
        self._drain_seconds = drain_seconds
        self._stopped = asyncio.Event()
        self._hurried = asyncio.Event()

    def stop(self) -> None:
        """Stop serving; sooner, when asked again."""
        if self._stopped.is_set():
            self._hurried.set()
        self._stopped.set()

    @property
    def hurried(self) -> bool:
        """Whether `stop` was called twice."""
        return self._hurried.is_set()

    @asynccontextmanager
    async def serve(self, opening: Opening) -> AsyncIterator[Orchestrator]:
        """Answer at the socket; inside, every plugin is ready. Leaving drains. Raises SocketHeld, OSError and what
        the opening does.
        """
        standing = Standing()
        with taken(self._socket) as listener:
            server = Server(App.of(standing), listener)
            await server.open()
            try:
                async with opening(standing) as orchestrator:
                    standing.serve(orchestrator)
                    try:
                        yield orchestrator
                    finally:
                        await self._drained(server, standing, orchestrator)
            finally:
                standing.drain()
                await server.close(standing.listeners)

    async def stopped(self) -> None:
        """Wait for `stop`."""
        await self._stopped.wait()

    async def _drained(self, server: Server, standing: Standing, orchestrator: Orchestrator) -> None:
        """Nothing more comes in; what is under way gets its verdict, by force when the time is up."""
        standing.drain()
        self._socket.unlink(missing_ok=True)
        log.info("http.draining", extra={"calls": orchestrator.engine.under_way})
        if not await server.drain(self._drain_seconds, self._hurried, standing.listeners):
            log.warning("http.denied_the_rest", extra={"calls": orchestrator.engine.under_way})
            await orchestrator.engine.close()
        await server.close(standing.listeners)
