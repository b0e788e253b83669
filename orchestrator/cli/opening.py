"""Takes a loaded file into use for one command, its progress shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.store.filelock import FileLock
from isolation.store.store import Store, default_store_root
from orchestrator.cli.logs import logged
from orchestrator.orchestrator import Orchestrator, StartEvent

if TYPE_CHECKING:
    from orchestrator.cli.progress import Bars
    from orchestrator.loading import Loaded

__all__ = ["opened"]


@asynccontextmanager
async def opened(
    loaded: Loaded,
    bars: Bars,
    *,
    locked: bool,
    offline: bool,
    verbosity: int = 0,
    state: Path | None = None,
    rehearsal: bool = False,
    hold: FileLock | None = None,
    follows_files: bool = False,
    report: Callable[[StartEvent], None] | None = None,
) -> AsyncIterator[Orchestrator]:
    """The file in use, with environments of the user's store; builds end when this is cancelled.

    `report` hears of every step in the stead of the bars; `hold` is the state folder's lock where the caller has it.
    """
    root = default_store_root()
    store = Store(root, offline=offline, locked=locked, pipeline=loaded.path)
    with logged(bars.note, verbosity), store:
        opening = Orchestrator(
            loaded,
            store,
            report=report or bars.started,
            state=state,
            rehearsal=rehearsal,
            hold=hold,
            follows_files=follows_files,
        )
        async with opening as orchestrator:
            bars.clear()
            yield orchestrator
