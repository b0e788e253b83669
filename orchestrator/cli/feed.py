"""Feeds input lines to an orchestrator, several at a time when asked; what became of them comes in input order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.cli.calls import Call, MalformedLine, read_call
from orchestrator.cli.lines import Line, LineReader

__all__ = ["Ask", "Outcome", "Take", "feed"]

Records = Sequence[Mapping[str, object]]
Ask = Callable[[Call], Awaitable[Records]]
"""Runs a call; raises MalformedLine when the door refuses it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one line came to: its records, or why it is no call."""

    line: int
    records: Records = ()
    refusal: str | None = None


Take = Callable[[Outcome], Awaitable[None]]


async def feed(reader: LineReader, hooks: Sequence[str], ask: Ask, take: Take, concurrency: int) -> None:
    """Answer every line. At most `concurrency` are under way or wait for an earlier one to be taken."""
    if concurrency == 1:
        async for line in reader.lines():
            await take(await _answer(line, hooks, ask))
        return
    under_way: asyncio.Queue[asyncio.Task[Outcome] | None] = asyncio.Queue()
    slots = asyncio.Semaphore(concurrency)
    async with asyncio.TaskGroup() as group:
        group.create_task(_in_order(under_way, slots, take))
        async for line in reader.lines():
            await slots.acquire()
            under_way.put_nowait(group.create_task(_answer(line, hooks, ask)))
        under_way.put_nowait(None)


async def _in_order(
    under_way: asyncio.Queue[asyncio.Task[Outcome] | None], slots: asyncio.Semaphore, take: Take
) -> None:
    while (answering := await under_way.get()) is not None:
        await take(await answering)
        slots.release()


async def _answer(line: Line, hooks: Sequence[str], ask: Ask) -> Outcome:
    try:
        return Outcome(line.number, await ask(read_call(line.text, hooks)))
    except MalformedLine as error:
        return Outcome(line.number, refusal=str(error))
