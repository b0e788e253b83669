"""What goes on beside the calls while `penstock serve` is up: the watch over its files, and what it leads to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from orchestrator.events import ChangeApplied, ChangeRefused, Event
from orchestrator.loading import Footprint
from orchestrator.orchestrator import Orchestrator
from orchestrator.revisions.follower import Follower
from orchestrator.watching import Places, Watch

__all__ = ["attended"]


@asynccontextmanager
async def attended(orchestrator: Orchestrator, *, watching: bool) -> AsyncIterator[None]:
    """While inside, changes of the file and its plugins are applied, where `watching`; a frozen host applies none."""
    if not watching:
        yield
        return
    follower = Follower(orchestrator.revisions, orchestrator.freezing)

    async def look() -> None:
        since = time.time()
        await follower.look()
        watch.look_at(_places(follower.footprint), read_since=since)

    async def changed(_: frozenset[Path]) -> None:
        await look()

    def told(_: Event) -> None:
        # A command may have read files that nobody watches yet; whatever was done to them since leads to another look.
        watch.look_at(_places(follower.footprint), read_since=0.0)

    since = time.time()
    await follower.look()  # the files may have changed while the plugins started
    async with asyncio.TaskGroup() as group, Watch(_places(follower.footprint), changed, read_since=since) as watch:
        orchestrator.watch = watch
        orchestrator.freezing.thawed = lambda: group.create_task(look())
        silence = orchestrator.events.subscribe(told, (ChangeApplied, ChangeRefused))
        try:
            yield
        finally:
            silence()
            orchestrator.freezing.thawed = lambda: None
            orchestrator.watch = None


def _places(footprint: Footprint) -> Places:
    """What to watch. A plugin of one file is a file, with its lock beside it."""
    plugins = {Path(name) for name in footprint.plugins}
    scripts = {plugin for plugin in plugins if plugin.suffix == ".py"}
    locks = {script.with_name(f"{script.name}.lock") for script in scripts}
    files = {Path(name) for name in footprint.files}
    return Places(frozenset(files | scripts | locks), frozenset(plugins - scripts))
