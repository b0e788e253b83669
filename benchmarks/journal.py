"""What the journal costs over a bare group commit: synced events a second, and how long one takes, 32 runs at a time.

    uv run python benchmarks/journal.py [--rounds N] [--folder FOLDER]

The bare loop is the least that group commit can be: one thread, one table of one column, the same settings of SQLite,
records of 400 bytes; no run, no encryption, no order to keep. Both take turns in short rounds on the same file system;
the ratio is that of the medians over all rounds, and the quantiles are over all appends.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

import uvloop
from rich.console import Console
from rich.table import Table

from orchestrator.journal.errors import JournalError
from orchestrator.journal.journal import Journal
from orchestrator.journal.opening import open_journal
from orchestrator.journal.rows import EventRow, RunRow, RunStatus, RunUpdate

WRITERS = 32
APPENDS_A_ROUND = 60
RECORD_BYTES = 400
EVENTS_A_RUN = 20
WARM_UP_ROUNDS = 4
"""Until the logs of both have been folded in once: a log that still grows syncs more slowly."""

AIM = 0.3
COMMANDS = b"\0" * 16

Append = Callable[[int], Awaitable[None]]


@dataclass(slots=True)
class Figures:
    """What one contender came to."""

    rates: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def quantile(self, part: float) -> float:
        """Seconds that this part of all appends did not exceed."""
        ordered = sorted(self.seconds)
        return ordered[int(len(ordered) * part)]


class BareLoop:
    """Group commit and nothing else."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: SimpleQueue[tuple[bytes, asyncio.Future[None]] | None] = SimpleQueue()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE record (body BLOB)")
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def append(self, body: bytes) -> asyncio.Future[None]:
        """Queue a record; the future is done when it is synced."""
        future = self._loop.create_future()
        self._queue.put((body, future))
        return future

    def close(self) -> None:
        """End the thread."""
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    def _live(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first, *self._rest()]
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT INTO record VALUES (?)", [(body,) for body, _ in group])
            self._connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_settle, [future for _, future in group])

    def _rest(self) -> list[tuple[bytes, asyncio.Future[None]]]:
        rest = []
        try:
            while (item := self._queue.get_nowait()) is not None:
                rest.append(item)
            self._queue.put(None)
        except Empty:
            return rest
        return rest


def _settle(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


def _settled(future: asyncio.Future[None], error: JournalError | None) -> None:
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


class Journalled:
    """32 runs of a journal. A run with as many events as `length` ends, and its place is taken by a new one."""

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop, name: str, length: int | None) -> None:
        self._journal = journal
        self._loop = loop
        self._name = name
        self._length = length
        self._events = [0] * WRITERS

    def append(self, number: int, body: bytes) -> asyncio.Future[None]:
        """Note the next event of a run, or begin one; the future is done when it is synced."""
        count = self._events[number]
        self._events[number] += 1
        future = self._loop.create_future()
        done = partial(_settled, future)
        run, seq = (0, count) if self._length is None else divmod(count, self._length)
        name = f"{self._name}{number:04d}{run:012d}"
        event = EventRow(name, seq, "answered", body, COMMANDS, time.time())
        if seq == 0:
            self._journal.begin(_run(name, body), event, done)
        else:
            self._journal.note(event, done, update=END if seq + 1 == self._length else None)
        return future


END = RunUpdate(status=RunStatus.COMPLETED, verdict="allow", ended_at=0.0, delivered=True)


def _run(name: str, body: bytes) -> RunRow:
    identity = (name, "orders", "tool_pre_invoke", "plan", None, None)
    return RunRow(*identity, RunStatus.RUNNING, None, "", time.time(), None, None, False, body)


async def _round(figures: Figures, append: Append) -> None:
    async def run(number: int) -> None:
        for _ in range(APPENDS_A_ROUND):
            begun = time.perf_counter()
            await append(number)
            figures.seconds.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(WRITERS):
            group.create_task(run(number))
    figures.rates.append(WRITERS * APPENDS_A_ROUND / (time.perf_counter() - begun))


async def _measure(folder: Path, rounds: int) -> dict[str, Figures]:
    loop = asyncio.get_running_loop()
    body = os.urandom(RECORD_BYTES)
    bare = BareLoop(folder / "bare.db", loop)
    with open_journal(folder / "journal", loop=loop, machine=1) as journal:
        plan = loop.create_future()
        journal.put_plan("plan", b"{}", partial(_settled, plan))
        await plan
        long, short = Journalled(journal, loop, "long", None), Journalled(journal, loop, "run", EVENTS_A_RUN)
        contenders: dict[str, Append] = {
            "bare": lambda number: bare.append(body),
            "journal": lambda number: long.append(number, body),
            "runs": lambda number: short.append(number, body),
        }
        for append in [*contenders.values()] * WARM_UP_ROUNDS:
            await _round(Figures(), append)
        figures = {name: Figures() for name in contenders}
        for _ in range(rounds):
            for name, append in contenders.items():
                await _round(figures[name], append)
    bare.close()
    return figures


CONTENDERS = {"journal": "one event more", "runs": f"runs of {EVENTS_A_RUN} events"}


def _table(figures: dict[str, Figures]) -> Table:
    table = Table(title=f"{WRITERS} writers, each awaiting its append of {RECORD_BYTES} bytes; interleaved rounds")
    for heading in ("what", "journal", "bare group commit", "ratio", "aim"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    bare = figures["bare"]
    for name, what in CONTENDERS.items():
        ours = figures[name]
        rates = statistics.median(ours.rates), statistics.median(bare.rates)
        ratio = rates[0] / rates[1]
        shown = f"[{'green' if ratio >= AIM else 'red'}]{ratio:.2f}x"
        table.add_row(f"{what}: synced/s", f"{rates[0]:,.0f}", f"{rates[1]:,.0f}", shown, f"at least {AIM:g}x")
        for quantile, part in (("p50", 0.5), ("p99", 0.99)):
            one, other = ours.quantile(part), bare.quantile(part)
            took = f"{one * 1e3:.2f} ms", f"{other * 1e3:.2f} ms", f"{one / other:.2f}x"
            table.add_row(f"{what}: {quantile}", *took, "")
    return table


def main() -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="rounds of each contender")
    parser.add_argument("--folder", type=Path, help="where to write (default: the folder for temporary files)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = uvloop.run(_measure(Path(folder), options.rounds))
    Console().print(_table(figures))


if __name__ == "__main__":
    main()
