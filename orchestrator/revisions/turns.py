"""Turns: changes are made one after another, each to its end, and whatever they leave to be done has an owner here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import TypeVar

from orchestrator.revisions.refusal import ChangeNotMade

__all__ = ["Turns"]

log = logging.getLogger("penstock.revisions")

_Value = TypeVar("_Value")


class Turns:
    """Use it as an async context manager. Leaving gives up the change that is being made, and what is owned.

    `alone` is held by whoever changes what serves, is on trial or drains. What only prepares a change may take as long
    as a build does, and gives way to a change that is urgent.
    """

    def __init__(self) -> None:
        self.alone = asyncio.Lock()
        self.closing = False
        self._way: asyncio.Timeout | None = None
        self._urgent = 0
        self._group = asyncio.TaskGroup()
        self._tasks = set[asyncio.Task[None]]()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Turns:
        await self._stack.enter_async_context(self._group)
        self._stack.callback(self._give_up)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def _give_up(self) -> None:
        self.closing = True
        for task in self._tasks:
            task.cancel()

    async def take(self, change: Coroutine[object, object, _Value], *, urgent: bool = False) -> _Value:
        """Make a change when those before it are made; who stops waiting for it stops nothing.

        An urgent one waits for none that is only being prepared. Raises what it does, and ChangeNotMade when the host
        closes.
        """
        if self.closing:
            change.close()
            raise _stopping()
        done: asyncio.Future[_Value] = asyncio.get_running_loop().create_future()
        self.own(self._make(change, done, urgent))
        if urgent:
            self._make_way()
        return await asyncio.shield(done)

    def _make_way(self) -> None:
        self._urgent += 1
        if self._way is not None and not self._way.expired():
            self._way.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def giving_way(self) -> AsyncIterator[None]:
        """What is awaited inside, in its turn, is given up for an urgent change. Raises ChangeNotMade then."""
        if self._urgent:
            raise _gave_way()
        try:
            async with asyncio.timeout(None) as self._way:
                yield
        except TimeoutError:
            if self._way is not None and self._way.expired():
                raise _gave_way() from None
            raise
        finally:
            self._way = None

    async def _make(
        self, change: Coroutine[object, object, _Value], done: asyncio.Future[_Value], urgent: bool
    ) -> None:
        try:
            async with self.alone:
                self._urgent -= urgent
                done.set_result(await change)
        except Exception as error:  # noqa: BLE001  whoever asked for the change is told, a bug of ours included
            done.set_exception(error)
        finally:
            change.close()
            if not done.done():
                done.set_exception(_stopping())
            done.exception()  # nobody has to wait for it

    def own(self, work: Coroutine[object, object, None]) -> None:
        """See to it that this is done, by when the host closes at the latest."""
        task = self._group.create_task(_guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _guarded(work: Coroutine[object, object, None]) -> None:
    """A bug of ours in what drains must not take the host down."""
    try:
        await work
    except Exception:
        log.exception("revisions.crashed")


def _gave_way() -> ChangeNotMade:
    hint = "`penstock apply` tries it again"
    return ChangeNotMade(
        "penstock.gave_way", "it gave way to a rollback while it was being built or started", hint=hint
    )


def _stopping() -> ChangeNotMade:
    return ChangeNotMade("penstock.shutdown", "the host is stopping", hint="ask again after its start")
