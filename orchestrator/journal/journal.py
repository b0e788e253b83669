"""A journal as its user holds it: submissions that never block, and reads that do."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

from orchestrator.journal import chores
from orchestrator.journal.cipher import Cipher, Entropy
from orchestrator.journal.errors import BodyTooLarge, JournalClosed, JournalError, JournalFull, Unreadable
from orchestrator.journal.files import Files
from orchestrator.journal.group import Desk
from orchestrator.journal.rows import EventRow, JournalFacts, JournalPulse, RunRow, RunSketch, RunStatus, RunUpdate
from orchestrator.journal.schema import SCHEMA, named
from orchestrator.journal.store import Store
from orchestrator.journal.submission import Begin, Chore, Counted, Done, Mark, Note, Outcome, PutPlan, Submission
from orchestrator.journal.writer import Writer, refusal

__all__ = ["QUEUE_BYTES", "Journal", "Loop"]

QUEUE_BYTES = 64 * 2**20
"""What may wait for the disk: half a second of it at a pace that few disks keep."""

MAX_BODY_BYTES = 32 * 2**20
"""Twice the longest frame: a payload and what a stage made of it."""

CLOSE_SECONDS = 30.0
"""The queue's bytes on a slow disk. A disk that hangs for longer must not keep the host from ending."""

LISTED_RUNS = 100

_T = TypeVar("_T")


class Loop(Protocol):
    """What a journal needs of an event loop."""

    def call_soon_threadsafe(self, callback: Callable[[], object], /) -> object:
        """Call back on the loop's thread."""

    def call_soon(self, callback: Callable[[], object], /) -> object:
        """Call back on the loop's thread, from it."""


class Journal:
    """An open journal; made by `opening.open_journal`. Use it from the event loop's thread, reads and `close` from any.

    A submission either raises (JournalFull, JournalFailed, JournalClosed, BodyTooLarge), and then it was not taken and
    `done` is never called; or `done` is called exactly once, later, on the loop's thread, in the order of submission:
    with None once the submission is on the disk, else with the error; `prune` and `rekey` tell when they are through,
    whatever was submitted meanwhile. After a failed commit everything is refused with JournalFailed until the journal
    is opened again.
    """

    def __init__(
        self,
        files: Files,
        connection: sqlite3.Connection,
        reading: sqlite3.Connection,
        cipher: Cipher,
        loop: Loop,
        *,
        machine: int,
        queue_bytes: int,
        clock: Callable[[], float],
        entropy: Entropy,
        stack: ExitStack,
    ) -> None:
        self.machine = machine
        self._files = files
        self._connection = connection
        self._cipher = cipher
        self._loop = loop
        self._queue_bytes = queue_bytes
        self._clock = clock
        self._entropy = entropy
        self._stack = stack
        self._opened = clock()
        self._closed = False
        # Only the loop's thread touches this: submissions add to it, reports take from it.
        self._waiting_bytes = 0
        self._outcomes: deque[Outcome] = deque()
        self._store = Store(reading, cipher)
        self._desk = Desk(connection, cipher, machine)
        self._writer = Writer(connection, self._desk, self._report, clock)

    # What is written.

    def begin(self, run: RunRow, event: EventRow, done: Done) -> None:
        """Write a run and its first event. Its plan must have been put before.

        `done` gets KeyTaken, and nothing is written, where the pipeline has a run with this key. Runs that begin may
        fill only half of the queue, so that those in motion can end.
        """
        self._check_bodies(run.body, event.body)
        self._submit(Begin(run, event, done), self._queue_bytes // 2)

    def note(self, event: EventRow, done: Done, *, update: RunUpdate | None = None) -> None:
        """Append an event to its run, and change the run's row in the same transaction."""
        self._check_bodies(event.body)
        self._submit(Note(event, update, done), self._queue_bytes)

    def mark(self, run: str, update: RunUpdate, done: Done) -> None:
        """Change a run's row."""
        self._submit(Mark(run, update, done), self._queue_bytes)

    def put_plan(self, digest: str, body: bytes, done: Done) -> None:
        """Archive a plan. A digest that is there already stays as it is."""
        self._check_bodies(body)
        self._submit(PutPlan(digest, body, done), self._queue_bytes)

    def prune(
        self, *, before: float | None, keep: int | None, done: Counted, plans: Collection[str] | None = None
    ) -> None:
        """Remove completed and undone runs: those that ended before `before` (seconds since the epoch) and are not
        among the newest `keep`. A bound that is None holds nothing back; with both None nothing is removed.

        Plans that no run names go too, but for `plans`, or, where that is None, those put since the journal was opened.
        It takes several transactions, and others go between; `done` gets the number of runs removed. The idempotency
        keys of these runs are free then.
        """
        if before is None and keep is None:
            keep = _ALL
        start = partial(chores.prune, self._connection, self._desk, before, keep, plans)
        self._submit(Chore(start, done), self._queue_bytes)

    def rekey(self, done: Counted) -> None:
        """Encrypt everything anew with a fresh key, and then drop the old ones from the key file.

        It takes many transactions, and others go between. Interrupted at any point it loses nothing; both keys stay
        until it is called again. `done` gets the number of bodies that were encrypted anew.
        """
        start = partial(chores.rekey, self._connection, self._cipher, self._files.keys, self._store, self._entropy)
        self._submit(Chore(start, done), self._queue_bytes)

    # What is read: each call blocks for the disk.

    def run(self, run: str) -> RunRow | None:
        """One run, or None. Raise Unreadable."""
        return self._read(partial(self._store.run, run))

    def by_key(self, pipeline: str, key: str) -> RunRow | None:
        """The run of a pipeline that has this idempotency key (its SHA-256 in hex), or None. Raise Unreadable."""
        return self._read(partial(self._store.by_key, pipeline, key))

    def runs(self, *, status: RunStatus | None = None, limit: int = LISTED_RUNS) -> Sequence[RunRow | Unreadable]:
        """Runs, newest first; in place of one that cannot be read its error."""
        return self._read(partial(self._store.runs, status, limit))

    def sketches(
        self, *, limit: int, status: str | None = None, verdict: str | None = None, pipeline: str | None = None
    ) -> Sequence[RunSketch]:
        """The newest runs that fit, newest first, with what stands in the open; cheap, and checks nothing."""
        return self._read(partial(self._store.sketches, status=status, verdict=verdict, pipeline=pipeline, limit=limit))

    def sketch(self, run: str) -> RunSketch | None:
        """The same of one run, or None; of an unreadable one too."""
        return self._read(partial(self._store.sketch, run))

    def ending(self, tail: str) -> Sequence[str]:
        """The ids of the runs that end in `tail`, newest first."""
        return self._read(partial(self._store.ending, tail))

    def unfinished(self) -> Sequence[RunRow | Unreadable]:
        """Running and confirming runs, oldest first; in place of one that cannot be read its error."""
        return self._read(self._store.unfinished)

    def events(self, run: str) -> Sequence[EventRow]:
        """All events of a run, in order and without a gap; none where there is no such run. Raise Unreadable."""
        return self._read(partial(self._store.events, run))

    def plan(self, digest: str) -> bytes | None:
        """An archived plan, or None. Raise JournalCorrupt where it cannot be read."""
        return self._read(partial(self._store.plan, digest))

    def plans(self) -> Sequence[str]:
        """The digests of all archived plans."""
        return self._read(self._store.plans)

    def facts(self) -> JournalFacts:
        """The journal as an operator sees it."""
        contents = self._read(self._store.contents)
        commits = sorted(self._writer.commit_seconds.copy())
        synced = self._writer.synced_events
        return JournalFacts(
            size_bytes=self._size_bytes(),
            runs=contents.runs,
            oldest=contents.oldest,
            schema=SCHEMA,
            machine=self.machine,
            key_ids=tuple(key.id.hex() for key in self._cipher.keys),
            synced_events=synced,
            synced_events_per_second=synced / max(self._clock() - self._opened, 1e-9),
            commit_seconds_p50=commits[len(commits) // 2] if commits else None,
            commit_seconds_p99=commits[len(commits) * 99 // 100] if commits else None,
        )

    def pulse(self) -> JournalPulse:
        """What can be told without reading it, at any time."""
        return JournalPulse(
            queue_bytes=self._waiting_bytes,
            size_bytes=self._size_bytes(),
            synced_events=self._writer.synced_events,
            commits=self._writer.commits.copy(),
            failed=self._writer.failed is not None,
        )

    def _size_bytes(self) -> int:
        return sum(_size(path) for path in (self._files.database, self._files.log))

    # Its end.

    def close(self) -> None:
        """Write what is queued, and let go of the files. Blocks for the disk; a second time does nothing.

        Raise JournalError where the disk does not answer; the lock is kept then.
        """
        if self._closed:
            return
        self._closed = True
        if not self._writer.close(CLOSE_SECONDS):
            raise JournalError(f"the disk has not answered for {CLOSE_SECONDS:g} s; what is queued may be lost")
        # The writing connection goes last, because only it may fold the log in.
        self._store.close()
        self._stack.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, submission: Submission | Chore, bound: int) -> None:
        if self._closed:
            raise JournalClosed("the journal is closed")
        if self._writer.failed is not None:
            raise refusal(self._writer.failed)
        waiting = self._waiting_bytes + submission.cost
        # One alone is always taken: a bound below a single body would refuse it for ever.
        if waiting > bound and self._waiting_bytes:
            raise JournalFull(f"{self._waiting_bytes} bytes wait for the disk already")
        self._waiting_bytes = waiting
        self._writer.submit(submission)

    def _check_bodies(self, *bodies: bytes) -> None:
        largest = max(map(len, bodies))
        if largest > MAX_BODY_BYTES:
            raise BodyTooLarge(f"a body has {largest} bytes; a journal keeps at most {MAX_BODY_BYTES}")

    def _read(self, read: Callable[[], _T]) -> _T:
        if self._closed:
            raise JournalClosed("the journal is closed")
        try:
            return read()
        except sqlite3.Error as error:
            raise named(error) from error

    def _report(self, outcomes: list[Outcome]) -> None:
        """Wake the loop once for all of them. Runs on the writer's thread."""
        self._outcomes.extend(outcomes)
        try:
            self._loop.call_soon_threadsafe(self._tell)
        except RuntimeError:
            # The loop is closed: nobody is left to hear it.
            return

    def _tell(self) -> None:
        """Tell everybody. What one of them raises goes to the loop's exception handler and costs no other its own."""
        outcomes = self._outcomes
        try:
            while outcomes:
                outcome = outcomes.popleft()
                self._waiting_bytes -= outcome.cost
                outcome.tell()
        finally:
            if outcomes:
                self._loop.call_soon(self._tell)


_ALL = 2**62
"""More runs than a journal ever holds."""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
