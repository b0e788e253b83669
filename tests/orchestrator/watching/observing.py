"""What the tests of watching share: somebody who reads everything again when told, as a reload does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from isolation.store.folder import FolderChanged, take_picture
from orchestrator.watching import Places, Watch
from orchestrator.watching.lookout import UNHURRIED, Arming, Ears, Pace, listen

WAIT_SECONDS = 30.0
"""The longest that any of these may take."""

_T = TypeVar("_T")


def run(main: Coroutine[object, object, _T]) -> _T:
    """Run, and not for ever."""

    async def bounded() -> _T:
        async with asyncio.timeout(WAIT_SECONDS):
            return await main

    return asyncio.run(bounded())


def places(files: Iterable[Path] = (), folders: Iterable[Path] = ()) -> Places:
    """Say what is watched."""
    return Places(frozenset(files), frozenset(folders))


def save(file: Path, text: str) -> None:
    """Write in place."""
    file.write_text(text)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    while True:
        if is_so():
            return
        await asyncio.sleep(0)


def content(watched: Places) -> dict[Path, object]:
    """Read all there is to read. Raises FolderChanged while that changes."""
    found: dict[Path, object] = {}
    for file in watched.files:
        try:
            found[file] = file.read_bytes()
        except (OSError, RuntimeError):
            found[file] = None
    for folder in watched.folders:
        found[folder] = take_picture(folder).identity() if folder.is_dir() else None
    return found


class Reader:
    """Is told, and reads. `seen` is what it read each time, `told` which places were named."""

    def __init__(self, watched: Places) -> None:
        self.watched = watched
        self.told: list[frozenset[Path]] = []
        self.seen: list[dict[Path, object]] = []
        self.gate: Callable[[], Awaitable[object]] | None = None
        self.called = asyncio.Event()
        self._is_reading = False

    async def __call__(self, changed: frozenset[Path]) -> None:
        """Read everything; wait at the gate if there is one."""
        assert not self._is_reading, "called while called"
        self._is_reading = True
        try:
            self.told.append(changed)
            try:
                self.seen.append(content(self.watched))
            except FolderChanged:
                self.seen.append({})
            self.called.set()
            if self.gate is not None:
                await self.gate()
        finally:
            self._is_reading = False

    @property
    def all_told(self) -> frozenset[Path]:
        """All that was ever named."""
        return frozenset().union(*self.told)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for calls until something is so."""
        while not is_so():
            self.called.clear()
            await self.called.wait()

    async def until_up_to_date(self) -> None:
        """Wait until what was read last is what is there."""
        await self.until(lambda: bool(self.seen) and self.seen[-1] == content(self.watched))

    async def until_told(self, place: Path) -> None:
        """Wait until a place was named."""
        await self.until(lambda: place in self.all_told)


@asynccontextmanager
async def watching(
    watched: Places, reader: Reader, *, pace: Pace = UNHURRIED, arming: Arming = listen
) -> AsyncIterator[Watch]:
    """Watch what is as it is: the tests have only just written it, and that is not news."""
    async with Watch(watched, reader, pace=pace, arming=arming, read_since=time.time() + WAIT_SECONDS) as watch:
        yield watch


class Armings:
    """Listens as usual, and remembers where. `before` is called on the thread before each time."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.folders: list[list[str]] = []
        self.armed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._before = before

    def __call__(self, folders: list[str]) -> Ears:
        """Listen."""
        self._before()
        ears = listen(folders)
        self.folders.append(folders)
        self._loop.call_soon_threadsafe(self.armed.set)
        return ears

    async def more(self, times: int) -> None:
        """Wait until it has listened anew so many times more."""
        aim = len(self.folders) + times
        while len(self.folders) < aim:
            self.armed.clear()
            await self.armed.wait()
