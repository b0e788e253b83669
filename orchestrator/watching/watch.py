"""Tells one listener that something it watches changed: after the last write, and never twice at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Self

from orchestrator.watching.lookout import UNHURRIED, Arming, Asked, Lookout, Pace, listen
from orchestrator.watching.sight import Places, Shown, difference

__all__ = ["Changed", "Watch"]

log = logging.getLogger("penstock.watch")

START_SECONDS = 10.0
"""The first look at a healthy disk takes milliseconds; a host must not wait for a dead one."""

CLOSE_SECONDS = 5.0
"""The lookout hears within a debounce that it shall end; it takes longer only where the file system hangs."""

Changed = Callable[[frozenset[Path]], Awaitable[None]]


class Watch:
    """Watches while inside, and calls `changed` with what did: the places themselves, or files in the folders.

    Whatever happens in a place after the call of `changed` has begun leads to another, once it has returned. What
    `changed` raises is logged, and not tried again before something changes. It is cancelled on the way out.

    Whoever reads the places first and watches them then says with `read_since` (seconds since 1970) when the reading
    began; what was touched in between counts as changed. Without it that is the time of the call.
    """

    def __init__(
        self,
        places: Places,
        changed: Changed,
        *,
        debounce_ms: int = 50,
        read_since: float | None = None,
        pace: Pace = UNHURRIED,
        arming: Arming = listen,
        wall: Callable[[], float] = time.time,
        start_seconds: float = START_SECONDS,
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        self._changed = changed
        self._wall = wall
        self._start_seconds = start_seconds
        self._close_seconds = close_seconds
        self._seen: tuple[Asked, Mapping[Path, Shown]] | None = None
        self._told: Mapping[Path, Shown] = {}
        self._failed: str | None = None
        self._news = asyncio.Event()
        self._begun = asyncio.Event()
        self._ended = asyncio.Event()
        self._lookout = Lookout(
            self._asked(places, read_since),
            self._report,
            self._end,
            debounce_ms=debounce_ms,
            pace=pace,
            arming=arming,
            wall=wall,
        )

    @property
    def polling(self) -> str | None:
        """Why it looks by the clock instead of hearing of changes; None when it hears."""
        return self._lookout.polling

    @property
    def failed(self) -> str | None:
        """What the last call of `changed` raised; None when it returned."""
        return self._failed

    @property
    def watched_folders(self) -> int:
        """How many folders it listens to: those of the places and all above them."""
        return self._lookout.watched_folders

    async def __aenter__(self) -> Self:
        """Begin; returns when the places are watched, or cannot be looked at for the time being."""
        self._loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            self._teller = group.create_task(self._tell(), name="penstock-watch")
            stack.push_async_callback(self._close)
            self._lookout.start()
            try:
                async with asyncio.timeout(self._start_seconds):
                    await self._begun.wait()
            except TimeoutError:
                log.warning("watch.slow", extra={"seconds": self._start_seconds})
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End. Waits for `changed`, which is cancelled."""
        # The group is not told what happened inside: it would wrap it.
        await self._stack.aclose()

    def look_at(self, places: Places, *, read_since: float | None = None) -> None:
        """Watch these from now on; what changed in those that are watched already is told all the same."""
        self._lookout.look_at(self._asked(places, read_since))

    def _asked(self, places: Places, read_since: float | None) -> Asked:
        return Asked(places, int((self._wall() if read_since is None else read_since) * 1e9))

    async def _close(self) -> None:
        self._teller.cancel()
        self._lookout.close()
        try:
            async with asyncio.timeout(self._close_seconds):
                await self._ended.wait()
        except TimeoutError:
            log.warning("watch.hangs", extra={"seconds": self._close_seconds})

    # On the lookout's thread.

    def _report(self, asked: Asked, shown: Mapping[Path, Shown]) -> None:
        self._send(self._see, asked, shown)

    def _end(self) -> None:
        self._send(self._ended.set)

    def _send(self, call: Callable[..., None], *values: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waited for the end
            self._loop.call_soon_threadsafe(call, *values)

    # On the event loop.

    def _see(self, asked: Asked, shown: Mapping[Path, Shown]) -> None:
        self._seen = (asked, shown)
        self._begun.set()
        self._news.set()

    async def _tell(self) -> None:
        while not self._teller.cancelling():  # `changed` may answer its cancellation with an error
            await self._news.wait()
            self._news.clear()
            if changed := self._news_since_told():
                await self._call(changed)

    def _news_since_told(self) -> frozenset[Path]:
        assert self._seen is not None
        asked, shown = self._seen
        changed = difference(self._told, shown, asked.since_ns)
        self._told = shown
        return changed

    async def _call(self, changed: frozenset[Path]) -> None:
        """Call once. Whatever comes of it, watching goes on."""
        try:
            await self._changed(changed)
            self._failed = None
        except asyncio.CancelledError:
            if self._teller.cancelling():
                raise
            # Something that `changed` waited for was cancelled; we were not.
            log.exception("watch.failed")
            self._failed = "cancelled"
        except Exception as error:
            log.exception("watch.failed")
            self._failed = f"{type(error).__name__}: {error}"
