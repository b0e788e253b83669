"""The work of `penstock serve`, once its options are read."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.store.filelock import FileLock
from orchestrator.cli.loop import run_loop
from orchestrator.cli.opening import opened
from orchestrator.cli.progress import Bars, terminal_watches
from orchestrator.http.daemon import Daemon
from orchestrator.http.place import HTTP_SOCKET
from orchestrator.serving import attended
from orchestrator.state import state_folder, take_state

if TYPE_CHECKING:
    from orchestrator.generations import StartEvent
    from orchestrator.http.standing import Standing
    from orchestrator.loading import Loaded
    from orchestrator.orchestrator import Orchestrator

__all__ = ["Wish", "perform"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator asked for."""

    socket: Path | None
    watch: bool
    drain_seconds: float
    from_files: bool
    state: Path | None
    locked: bool
    offline: bool
    verbosity: int


def perform(loaded: Loaded, wish: Wish) -> None:
    """Serve until a signal. Raises StateHeld and SocketHeld, besides what starting does."""
    folder = wish.state or state_folder(loaded.path)
    with take_state(folder) as hold, Bars(shown=terminal_watches(stdout_is_data=False)) as bars:
        run_loop(_serve(loaded, wish, folder, hold, bars))


async def _serve(loaded: Loaded, wish: Wish, folder: Path, hold: FileLock, bars: Bars) -> None:
    where = (wish.socket or folder / HTTP_SOCKET).absolute()
    daemon = Daemon(where, drain_seconds=wish.drain_seconds)

    @asynccontextmanager
    async def opening(standing: Standing) -> AsyncIterator[Orchestrator]:
        def started(event: StartEvent) -> None:
            standing.started(event)
            bars.started(event)

        opening = opened(
            loaded,
            bars,
            locked=wish.locked,
            offline=wish.offline,
            verbosity=wish.verbosity,
            state=folder,
            hold=hold,
            follows_files=wish.from_files,
            report=started,
        )
        async with opening as orchestrator:
            yield orchestrator

    async with daemon.serve(opening) as orchestrator, attended(orchestrator, watching=wish.watch):
        _heed(daemon)
        _spare_the_collector()
        count = len(orchestrator.generations)
        bars.note(f"serving {loaded.plan.name} with {count} plugin{'s' if count != 1 else ''} at {where}")
        _tell_systemd("READY=1")
        await daemon.stopped()
        _tell_systemd("STOPPING=1")
        bars.note("stopping; calls under way get their verdict (a second signal denies them)")
    bars.note("stopped")


def _spare_the_collector() -> None:
    """Take what the start left out of full collections, which a reload sets off: the loop stood still for 80 ms.

    A hundred thousand objects, modules above all, that stay as long as the process does. Only here is it ours.
    """
    gc.collect()
    gc.freeze()


def _heed(daemon: Daemon) -> None:
    """Signals stop the daemon from now on. The third one does what a signal does to any other command."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def heard() -> None:
        if daemon.hurried:
            task.cancel()
        daemon.stop()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, heard)


def _tell_systemd(what: str) -> None:
    """As sd_notify(3) does, where whoever started us listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address.startswith(("/", "@")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notice:
            notice.setblocking(False)
            with contextlib.suppress(OSError):  # that nobody listens is no reason not to serve
                notice.sendto(what.encode(), f"\0{address[1:]}" if address[0] == "@" else address)
