"""Two hosts of a scene that are asked alike: one inside this process, and `penstock serve` with its socket."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
from http_door import HttpClient

from isolation.store.store import Store
from orchestrator.control.refusal import Answer, Refused
from orchestrator.control.socket import HostGone, NoHost, ask
from orchestrator.http.place import HTTP_SOCKET
from orchestrator.loading import load
from orchestrator.orchestrator import Orchestrator
from orchestrator.serving import attended
from reloading.scene import Scene

__all__ = ["BY", "Answered", "Daemon", "Embedded", "Host", "Serving", "daemon", "embedded", "serving"]

BY = "uid:0"
"""Who asks an embedded host."""

PENSTOCK = Path(sys.executable).with_name("penstock")
START_SECONDS = 120.0
STOP_SECONDS = 60.0
LOOK_SECONDS = 0.05
"""Between two looks at a daemon that starts."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a caller got. `revisions` are those of its runs, where the host tells; `why` says why it was denied."""

    verdict: str
    payload: bytes
    revisions: frozenset[int]
    why: str


class Host(Protocol):
    """What serves a scene. `revision` is the newest that is known to serve."""

    @property
    def pid(self) -> int:
        """The process of the host."""

    @property
    def revision(self) -> int:
        """The newest revision that is known to serve."""

    async def call(self, hook: str, payload: bytes) -> Answered:
        """Ask it."""

    async def command(self, name: str, **params: object) -> Answer:
        """Command it. Raises Refused."""

    def under_way(self) -> int:
        """How many calls it has not answered yet; 0 where it does not tell."""


Serving = Callable[[Scene], AbstractAsyncContextManager[Host]]
"""Serves a scene while inside."""


@dataclass
class Embedded:
    """A host in this process."""

    inside: Orchestrator

    @property
    def pid(self) -> int:
        """Ours."""
        return os.getpid()

    @property
    def revision(self) -> int:
        """The one that serves."""
        return self.inside.engine.serving.revision

    async def call(self, hook: str, payload: bytes) -> Answered:
        """Ask it."""
        result = await self.inside.invoke(hook, payload)
        reply = result.reply
        revisions = frozenset(run.route.revision for run in reply.runs)
        why = "" if reply.verdict != "deny" else repr((reply.violation, reply.fault))
        return Answered(reply.verdict, result.payload, revisions, why)

    async def command(self, name: str, **params: object) -> Answer:
        """Command it."""
        return await self.inside.control.perform(name, params, by=BY)

    def under_way(self) -> int:
        """How many calls it has not answered yet."""
        return self.inside.engine.under_way


@asynccontextmanager
async def embedded(scene: Scene) -> AsyncIterator[Embedded]:
    """Serve the scene in this process, and watch it."""
    with Store(scene.store, offline=True, environment=scene.environment) as store:
        host = Orchestrator(load(scene.served), store, state=scene.state, keeps_history=True)
        async with host as inside, attended(inside, watching=True):
            gc.collect()
            gc.freeze()  # as `penstock serve` does, and every program may that embeds a host
            try:
                yield Embedded(inside)
            finally:
                gc.unfreeze()


class _Said(msgspec.Struct):
    verdict: str
    payload: msgspec.Raw
    violation: object = None
    error: object = None


@dataclass
class Daemon:
    """`penstock serve`, asked at its socket."""

    process: subprocess.Popen[bytes]
    state: Path
    client: HttpClient
    revision: int = 0

    @property
    def pid(self) -> int:
        """The daemon's."""
        return self.process.pid

    async def call(self, hook: str, payload: bytes) -> Answered:
        """Ask it."""
        body = await self.client.call(HttpClient.request(hook, payload, b"{}"))
        said = msgspec.json.decode(body, type=_Said)
        why = "" if said.verdict != "deny" else repr((said.violation, said.error))
        return Answered(said.verdict, bytes(said.payload), frozenset(), why)

    async def command(self, name: str, **params: object) -> Answer:
        """Command it."""
        return await asyncio.to_thread(ask, self.state, name, params)

    def under_way(self) -> int:
        """It does not tell."""
        return 0

    async def ready(self) -> None:
        """Wait until it serves."""
        async with asyncio.timeout(START_SECONDS):
            while not await self._serves():
                if self.process.poll() is not None:
                    raise SystemExit(f"penstock serve ended with status {self.process.returncode}")
                await asyncio.sleep(LOOK_SECONDS)

    async def _serves(self) -> bool:
        with suppress(NoHost, HostGone, Refused):
            return _in_service(await self.command("history", limit=1)) > 0
        return False


def _in_service(entries: Answer) -> int:
    newest = entries[0] if isinstance(entries, list) and entries else {}
    number = newest.get("number", 0)
    return number if isinstance(number, int) else 0


@asynccontextmanager
async def daemon(scene: Scene) -> AsyncIterator[Daemon]:
    """Serve the scene in a process of its own."""
    async with serving(scene.served, scene.state, scene.folder / "serve.log", scene.environment) as host:
        yield host


@asynccontextmanager
async def serving(served: Path, state: Path, log: Path, environment: Mapping[str, str]) -> AsyncIterator[Daemon]:
    """Serve a folder in a process of its own; what it says goes into `log`."""
    process = _started(["serve", str(served), "--state", str(state), "--offline"], log, environment)
    try:
        with HttpClient(state / HTTP_SOCKET) as client:
            found = Daemon(process, state, client)
            await found.ready()
            yield found
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _started(words: list[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with open(log, "wb") as said:
        return subprocess.Popen(
            [str(PENSTOCK), *words], env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
