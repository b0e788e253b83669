"""What the journal's tests share: a loop turned by hand, a clock that can stand still, rows, and a journal held."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue

from orchestrator.journal.errors import JournalError
from orchestrator.journal.journal import Journal
from orchestrator.journal.opening import open_journal
from orchestrator.journal.rows import EventRow, RunRow, RunStatus, RunUpdate

__all__ = ["COMPLETED", "PLAN", "Gate", "HandLoop", "Keeper", "copied", "event", "row"]

PATIENCE_SECONDS = 60.0
PLAN = "plan-1"
COMPLETED = RunUpdate(status=RunStatus.COMPLETED, ended_at=9.0)

# What a kill of the process would leave; the lock goes with the process, `-shm` is made anew.
SURVIVING = ("journal.db", "journal.db-wal", "journal.key")


class HandLoop:
    """An event loop that turns when it is told to. `wakes` counts calls from other threads."""

    def __init__(self) -> None:
        self.wakes = 0
        self.errors: list[Exception] = []
        self._ready: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def call_soon_threadsafe(self, callback: Callable[[], object], /) -> object:
        self.wakes += 1
        self._ready.put(callback)
        return None

    def call_soon(self, callback: Callable[[], object], /) -> object:
        self._ready.put(callback)
        return None

    def turn(self) -> None:
        """Wait for one callback and call it."""
        try:
            callback = self._ready.get(timeout=PATIENCE_SECONDS)
        except Empty:
            raise AssertionError("nothing happened") from None
        try:
            callback()
        except ZeroDivisionError as error:
            self.errors.append(error)

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until the condition holds."""
        while not condition():
            self.turn()


class Gate:
    """A clock that keeps the writer before its next commit while the gate is closed. Other threads pass."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self.reached = threading.Event()

    def __call__(self) -> float:
        if threading.current_thread().name == "penstock-journal":
            self.reached.set()
            assert self._open.wait(PATIENCE_SECONDS)
        return time.monotonic()

    def shut(self) -> None:
        self._open.clear()
        self.reached.clear()

    def lift(self) -> None:
        self._open.set()


def row(run: str, **changes: object) -> RunRow:
    """A run as it begins."""
    status = RunStatus.RUNNING
    fresh = RunRow(
        run, "orders", "tool_pre_invoke", PLAN, None, None, status, None, "", 1.5, None, None, False, b"payload"
    )
    return replace(fresh, **changes)  # type: ignore[arg-type] # the names are a test's own


def event(run: str, seq: int, body: bytes | None = None) -> EventRow:
    """An event that tells which one it is."""
    return EventRow(run, seq, "answered", f"{run}/{seq}".encode() if body is None else body, b"digest", 2.5)


class Keeper:
    """A journal in a folder, spoken to one call after the other."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.loop = HandLoop()
        self.heard: list[JournalError | None] = []
        self.journal: Journal = open_journal(
            folder,
            loop=self.loop,
            **({"machine": 1} | options),  # type: ignore[arg-type] # the names are a test's own
        )
        self.journal.put_plan(PLAN, b"the plan", self.hear)
        self.settle()

    def hear(self, outcome: JournalError | None) -> None:
        self.heard.append(outcome)

    def settle(self, count: int = 1) -> list[JournalError | None]:
        """Wait for so many outcomes and take them."""
        self.loop.until(lambda: len(self.heard) >= count)
        taken, self.heard = self.heard, []
        assert len(taken) == count
        return taken

    def begin(self, run: RunRow) -> JournalError | None:
        self.journal.begin(run, event(run.id, 0), self.hear)
        return self.settle()[0]

    def note(self, noted: EventRow, update: RunUpdate | None = None) -> JournalError | None:
        self.journal.note(noted, self.hear, update=update)
        return self.settle()[0]

    def mark(self, run: str, update: RunUpdate) -> JournalError | None:
        self.journal.mark(run, update, self.hear)
        return self.settle()[0]

    def fill(self, run: str, events: int) -> None:
        """Begin a run and note events until it has so many."""
        assert self.begin(row(run)) is None
        for seq in range(1, events):
            assert self.note(event(run, seq)) is None

    def prune(self, before: float | None, keep: int | None) -> int:
        counted: list[int | JournalError] = []
        self.journal.prune(before=before, keep=keep, done=counted.append)
        return self._counted(counted)

    def rekey(self) -> int:
        counted: list[int | JournalError] = []
        self.journal.rekey(counted.append)
        return self._counted(counted)

    def _counted(self, counted: list[int | JournalError]) -> int:
        self.loop.until(lambda: counted)
        if isinstance(counted[0], JournalError):
            raise counted[0]
        return counted[0]

    def close(self) -> None:
        self.journal.close()


def copied(folder: Path, to: Path) -> Path:
    """The folder as a kill at this moment would leave it."""
    to.mkdir(mode=0o700)
    for name in SURVIVING:
        if (folder / name).exists():
            shutil.copy2(folder / name, to / name)
    return to
