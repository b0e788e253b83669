"""A process that appends as fast as it can until it is killed, and says of each event when it was acknowledged."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from keeper import COMPLETED, PLAN, event, row

from orchestrator.journal.errors import JournalError
from orchestrator.journal.journal import Journal
from orchestrator.journal.opening import open_journal

__all__ = ["RUNS", "append_until_killed"]

RUNS = 16
EVENTS_A_RUN = 25


def append_until_killed(folder: Path, name: str, chores: bool, pipe: Connection) -> None:
    """Append to several runs at once. Sends (run, seq) for each acknowledgement; `chores` changes keys meanwhile."""
    asyncio.run(_append(folder, name, chores, pipe))


async def _append(folder: Path, name: str, chores: bool, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    journal = open_journal(folder, loop=loop, machine=1)
    journal.put_plan(PLAN, b"the plan", lambda error: None)
    async with asyncio.TaskGroup() as group:
        for number in range(RUNS):
            group.create_task(_live(journal, f"{name}-{number}", pipe, loop))
        if chores:
            group.create_task(_change_keys(journal, loop))


async def _live(journal: Journal, name: str, pipe: Connection, loop: asyncio.AbstractEventLoop) -> None:
    for number in range(10**9):
        run = f"{name}-{number}"
        for seq in range(EVENTS_A_RUN):
            acknowledged = loop.create_future()
            done = partial(_resolve, acknowledged)
            noted = event(run, seq)
            if seq == 0:
                journal.begin(row(run, started_at=time.time()), noted, done)
            else:
                journal.note(noted, done, update=COMPLETED if seq == EVENTS_A_RUN - 1 else None)
            await acknowledged
            pipe.send((run, seq))


async def _change_keys(journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
    while True:
        changed = loop.create_future()
        journal.rekey(changed.set_result)
        assert isinstance(await changed, int)


def _resolve(future: asyncio.Future[None], error: JournalError | None) -> None:
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
