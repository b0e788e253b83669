"""Which table of configurations holds for a generation, and how all of its replicas are given another one.

All or none: where one replica refuses, those that took the new table are given the old one again. What becomes of a
replica that ends meanwhile is the supervisor's part; it starts another one, with the table that holds then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

from isolation.errors import CallError, ConfigureError, RemoteProtocolError, StartError, WorkerLost
from isolation.worker import Worker

__all__ = ["Configurations", "Table"]

Table = Mapping[str, object]
"""Ids of configurations, and of each its `with` and its secrets."""


class Configurations:
    """The table that holds, `in_force`, and what replaces it.

    `ready` is the supervisor's own list of the workers that take calls; `restart` starts those that are missing.
    """

    def __init__(
        self, plugin: str, table: Table, ready: Sequence[Worker], restart: Callable[[], Awaitable[None]]
    ) -> None:
        self.in_force = table
        self._plugin = plugin
        self._ready = ready
        self._restart = restart
        self._turn = asyncio.Lock()

    async def replace(self, table: Table) -> None:
        """Give `table` to every replica, one change after the other. Raises ConfigureError; the old one holds then.

        Must not be given up half-way. Bounded: by the calls that are with the workers, and by their start-up time.
        """
        async with self._turn:
            taken = await self._hand_out(table)
            if not taken:
                await self._start_with(table)
            self.in_force = table

    async def _hand_out(self, table: Table) -> list[Worker]:
        """Tell every replica, those that come meanwhile too; return who took it. Nobody is left out at the end."""
        asked, taken = set[Worker](), list[Worker]()
        while fresh := [worker for worker in self._ready if worker not in asked]:
            asked.update(fresh)
            ends = await asyncio.gather(*(_told(worker, table) for worker in fresh))
            taken += [worker for worker, end in zip(fresh, ends, strict=True) if end is None]
            for worker, end in zip(fresh, ends, strict=True):
                if end is not None and not isinstance(end, WorkerLost | RemoteProtocolError):
                    await self._take_back(taken)
                    raise ConfigureError(self._plugin, worker.name, str(end)) from end
        return taken

    async def _take_back(self, workers: Sequence[Worker]) -> None:
        """Tell `workers` the table that holds; who refuses even that is replaced by one that starts with it."""
        ends = await asyncio.gather(*(_told(worker, self.in_force) for worker in workers))
        for worker, end in zip(workers, ends, strict=True):
            if end is not None:
                worker.kill("would not have its old configurations back")

    async def _start_with(self, table: Table) -> None:
        """No replica is left that could say whether it takes `table`: start them with it, and see."""
        before, self.in_force = self.in_force, table
        try:
            await self._restart()
        except StartError as error:
            self.in_force = before
            with contextlib.suppress(StartError):  # it is failed then, which is seen and said elsewhere
                await self._restart()
            raise ConfigureError(self._plugin, self._plugin, str(error)) from error


async def _told(worker: Worker, table: Table) -> CallError | None:
    try:
        await worker.configure(table)
    except CallError as error:
        return error
    return None
