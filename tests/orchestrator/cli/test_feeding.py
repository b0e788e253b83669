"""Feeding lines: the order of answers is the order of lines, whatever finishes first."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.cli.calls import Call
from orchestrator.cli.feed import Outcome, feed
from orchestrator.cli.lines import LineReader


def line(number: int) -> bytes:
    return b'{"hook":"tool_pre_invoke","payload":{"n":%d}}\n' % number


class Door:
    """Answers the calls of each batch backwards: the last one in is the first one out."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.waiting: list[asyncio.Future[None]] = []
        self.most = 0

    async def __call__(self, call: Call) -> Sequence[dict[str, object]]:
        mine = asyncio.get_running_loop().create_future()
        self.waiting.append(mine)
        self.most = max(self.most, len(self.waiting))
        if len(self.waiting) == self.batch:
            self.release()
        await mine
        return [{"payload": call.payload}]

    def release(self) -> None:
        for each in reversed(self.waiting):
            each.set_result(None)
        self.waiting.clear()


def fed(folder: Path, content: bytes, door: Door, concurrency: int) -> list[Outcome]:
    path = folder / "input"
    path.write_bytes(content)
    outcomes: list[Outcome] = []

    async def take(outcome: Outcome) -> None:
        outcomes.append(outcome)

    async def go() -> None:
        reader = LineReader(os.open(path, os.O_RDONLY))
        await asyncio.wait_for(feed(reader, ["tool_pre_invoke"], door, take, concurrency), 10)

    asyncio.run(go())
    return outcomes


@pytest.mark.parametrize("concurrency", [1, 4])
def test_answers_come_in_the_order_of_the_lines(tmp_path: Path, concurrency: int) -> None:
    door = Door(concurrency)
    outcomes = fed(tmp_path, b"".join(map(line, range(20))), door, concurrency)
    assert [outcome.line for outcome in outcomes] == list(range(1, 21))
    assert door.most == concurrency


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_malformed_line_is_reported_in_its_place(tmp_path: Path, concurrency: int) -> None:
    outcomes = fed(tmp_path, line(1) + b"nonsense\n" + line(3), Door(1), concurrency)
    assert [bool(outcome.refusal) for outcome in outcomes] == [False, True, False]
