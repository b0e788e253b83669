"""The one thread that writes: takes everything queued, makes it one transaction, and tells when it is on the disk.

While it waits for the disk the next group gathers, so the more runs wait the more share a sync. It reports a group with
one wake-up of the event loop, in the order of submission, and only after the commit.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue

from orchestrator.journal.errors import JournalClosed, JournalError, JournalFailed
from orchestrator.journal.group import Desk, Group
from orchestrator.journal.schema import named
from orchestrator.journal.submission import Chore, Chores, Outcome, Submission
from orchestrator.metrics.distribution import Distribution

__all__ = ["Writer", "refusal"]

FOLD_PAGES = 2000
"""At most 8 MiB are written to the log before it is folded into the database, and it is overwritten from its start.

Folding syncs twice more and takes some ten milliseconds, so not often; but a log that still grows syncs at a third of
the pace, because the file system has to write down its new length each time, so not seldom either.
"""

LATENCIES = 4096
"""How many commits the quantiles are taken from: the last seconds under load, hours of calm."""

Report = Callable[[list[Outcome]], None]


class Writer:
    """Owns the writing connection while its thread lives. `failed` is set once a commit failed, and for good.

    `report` is called on this thread, with what became of submissions, each exactly once.
    """

    def __init__(self, connection: sqlite3.Connection, desk: Desk, report: Report, clock: Callable[[], float]) -> None:
        self.failed: JournalError | None = None
        self.synced_events = 0
        self.commit_seconds: deque[float] = deque(maxlen=LATENCIES)
        self.commits = Distribution()
        self._connection = connection
        self._desk = desk
        self._report = report
        self._clock = clock
        self._queue: SimpleQueue[Submission | Chore | None] = SimpleQueue()
        self._group: list[Submission] = []
        self._chores: deque[Chore] = deque()
        self._steps: Chores | None = None
        self._unfolded_pages = 0
        self._closing = False
        self._thread = threading.Thread(target=self._live, name="penstock-journal", daemon=True)
        self._thread.start()

    def submit(self, submission: Submission | Chore) -> None:
        """Hand over. Never blocks."""
        self._queue.put(submission)

    def close(self, within_seconds: float) -> bool:
        """Write what is queued and end; chores end after their current step. Tell whether it ended in time."""
        self._queue.put(None)
        self._thread.join(within_seconds)
        return not self._thread.is_alive()

    def _live(self) -> None:
        whole = False
        try:
            while not self._closing:
                self._take()
                self._commit()
                self._step()
            whole = True
        finally:
            # A bug of ours must not leave anybody waiting, nor go on: what it left half done is unknown.
            if not whole:
                self._fail(JournalError("the journal's writer ended; the log has the traceback"))
            while not self._closing:
                self._refuse()
                self._take()
            self._refuse()

    def _take(self) -> None:
        """Wait for something to do, then take all there is."""
        wait = not self._chores
        while True:
            try:
                item = self._queue.get(block=wait)
            except Empty:
                return
            wait = False
            if item is None:
                self._closing = True
                return
            if isinstance(item, Chore):
                self._chores.append(item)
            else:
                self._group.append(item)

    def _commit(self) -> None:
        """Write one group and report it."""
        if self.failed is not None:
            self._refuse()
            return
        if not self._group:
            return
        begun = self._clock()
        try:
            group = self._desk.draft(self._group)
            group.write(self._connection)
        except sqlite3.Error as error:
            self._fail(named(error))
            self._refuse()
            return
        seconds = self._clock() - begun
        self.commit_seconds.append(seconds)
        self.commits.note(seconds)
        self.synced_events += len(group.events)
        self._group.clear()
        self._report(group.outcomes)
        self._fold(group)

    def _fold(self, group: Group) -> None:
        """Fold the log into the database now and then: between groups, so that nobody's answer waits for it."""
        self._unfolded_pages += group.pages
        if self._unfolded_pages < FOLD_PAGES:
            return
        self._unfolded_pages = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            self._fail(named(error))

    def _step(self) -> None:
        """Do one step of the oldest chore."""
        if not self._chores or self.failed is not None:
            return
        try:
            if self._steps is None:
                self._steps = self._chores[0].start()
            next(self._steps)
        except StopIteration as end:
            self._end_chore(end.value)
        except JournalError as error:
            self._end_chore(error)
        except sqlite3.Error as error:
            self._fail(named(error))
            self._refuse()

    def _end_chore(self, result: int | JournalError) -> None:
        chore = self._chores.popleft()
        self._steps = None
        self._report([Outcome(partial(chore.done, result), chore.cost)])

    def _fail(self, reason: JournalError) -> None:
        """Take nothing more. Whatever the last transaction did or did not do shows when the journal is opened again."""
        self.failed = reason
        self._steps = None
        if self._connection.in_transaction:
            try:
                self._connection.rollback()
            except sqlite3.Error:
                # Closing the connection drops the transaction as well.
                return

    def _refuse(self) -> None:
        """Tell everybody who waits that the journal failed, or is closing in the midst of a chore."""
        waiting = [*self._group, *self._chores]
        self._group.clear()
        self._chores.clear()
        if waiting:
            self._report([Outcome(partial(one.done, self._refusal()), one.cost) for one in waiting])

    def _refusal(self) -> JournalError:
        if self.failed is None:
            return JournalClosed("the journal was closed in the midst of this; what is done stays, begin it again")
        return refusal(self.failed)


def refusal(reason: JournalError) -> JournalFailed:
    """A fresh error for each who is told: an exception that is raised twice gathers both tracebacks."""
    failed = JournalFailed(f"the journal takes nothing more since this happened: {reason}", hint=reason.hint)
    failed.__cause__ = reason
    return failed
