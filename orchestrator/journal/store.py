"""What a journal holds, read: rows decrypted, one at a time, so that a damaged one costs no other."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from orchestrator.journal.cipher import Cipher, NotOurs
from orchestrator.journal.errors import JournalCorrupt, Unreadable
from orchestrator.journal.places import event_place, identity_of, plan_place, run_place
from orchestrator.journal.rows import UNFINISHED, EventRow, RunRow, RunSketch, RunStatus
from orchestrator.journal.standing import Standing

__all__ = ["Contents", "Store"]

_RUN = """
SELECT id, pipeline, hook, plan, key, key_digest, status, verdict, reason, started_at, ended_at, confirm_by, delivered,
    run_body.body, machine
FROM run LEFT JOIN run_body USING (number) WHERE id = ?
"""
_EVENTS = """
SELECT seq, kind, body, commands, at FROM event WHERE run = (SELECT number FROM run WHERE id = ?) ORDER BY seq
"""
_STANDING = """
SELECT number, (SELECT max(seq) FROM event WHERE event.run = run.number), status, verdict, reason, ended_at,
    confirm_by, delivered
FROM run WHERE id = ?
"""
_SKETCH = "SELECT id, pipeline, hook, status, verdict, reason, started_at, ended_at FROM run"
_SKETCHES = f"""
{_SKETCH} WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR verdict = ?2) AND (?3 IS NULL OR pipeline = ?3)
ORDER BY number DESC LIMIT ?4
"""
_ENDING = "SELECT id FROM run WHERE substr(id, -length(?1)) = ?1 ORDER BY number DESC"
_NEWEST = "SELECT id FROM run ORDER BY number DESC LIMIT ?"
_NEWEST_OF = "SELECT id FROM run WHERE status = ? ORDER BY number DESC LIMIT ?"


class Contents:
    """What `facts` counts."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        counted = connection.execute("SELECT status, count(*) FROM run GROUP BY status").fetchall()
        known = {status.value: status for status in RunStatus}
        self.runs = {known[status]: count for status, count in counted if status in known}
        oldest = connection.execute("SELECT started_at FROM run ORDER BY number LIMIT 1").fetchone()
        self.oldest: float | None = oldest[0] if oldest else None


class Store:
    """Reads over one connection; several threads may use it, one at a time. Every read blocks for the disk.

    Reads of one run raise Unreadable where it is damaged; lists hold the error in its place.
    """

    def __init__(self, connection: sqlite3.Connection, cipher: Cipher) -> None:
        self.guard = threading.Lock()
        self._connection = connection
        self._cipher = cipher

    def run(self, run: str) -> RunRow | None:
        """One run, or None."""
        with self.guard:
            return self._run(run)

    def standing(self, run: str) -> Standing | None:
        """Where a run stands, or None where there is none. Raise Unreadable."""
        with self.guard:
            try:
                record = self._connection.execute(_STANDING, (run,)).fetchone()
                if record is None:
                    return None
                number, seq, status, verdict, reason, ended, confirm_by, delivered = record
                return Standing(number, seq, RunStatus(status), verdict, reason, ended, confirm_by, bool(delivered))
            except (sqlite3.DatabaseError, ValueError) as error:
                raise Unreadable(run, str(error)) from error

    def by_key(self, pipeline: str, key: str) -> RunRow | None:
        """The run that has this key (its SHA-256 in hex), or None."""
        with self.guard:
            found = self._ids("SELECT id FROM run WHERE pipeline = ? AND key = ?", pipeline, key)
            return self._run(found[0]) if found else None

    def runs(self, status: RunStatus | None, limit: int) -> list[RunRow | Unreadable]:
        """Runs, newest first."""
        with self.guard:
            ids = self._ids(_NEWEST, limit) if status is None else self._ids(_NEWEST_OF, status.value, limit)
            return self._each(ids)

    def sketches(self, *, status: str | None, verdict: str | None, pipeline: str | None, limit: int) -> list[RunSketch]:
        """The newest runs that fit, newest first; None fits every run."""
        with self.guard:
            found = self._connection.execute(_SKETCHES, (status, verdict, pipeline, limit))
            return [RunSketch(*record) for record in found]

    def sketch(self, run: str) -> RunSketch | None:
        """One of them, or None."""
        with self.guard:
            record = self._connection.execute(f"{_SKETCH} WHERE id = ?", (run,)).fetchone()
            return None if record is None else RunSketch(*record)

    def ending(self, tail: str) -> list[str]:
        """The ids that end in `tail`, newest first."""
        with self.guard:
            return self._ids(_ENDING, tail)

    def unfinished(self) -> list[RunRow | Unreadable]:
        """Running and confirming runs, oldest first, and those of which nobody can tell where they stand."""
        with self.guard:
            settled = {status.value for status in RunStatus if status not in UNFINISHED}
            open_ones = [status for status in self._ids("SELECT DISTINCT status FROM run") if status not in settled]
            marks = ", ".join("?" * len(open_ones))
            return self._each(self._ids(f"SELECT id FROM run WHERE status IN ({marks}) ORDER BY number", *open_ones))

    def events(self, run: str) -> list[EventRow]:
        """All events of a run, in order. Raise Unreadable where one is damaged or missing."""
        with self.guard:
            try:
                found = [EventRow(run, *record) for record in self._connection.execute(_EVENTS, (run,))]
            except sqlite3.DatabaseError as error:
                raise Unreadable(run, str(error)) from error
            events = [self._opened(event) for event in found]
        for before, event in pairwise(events):
            if event.seq != before.seq + 1:
                raise Unreadable(run, f"event {before.seq + 1} is missing")
        return events

    def plan(self, digest: str) -> bytes | None:
        """An archived plan, or None. Raise JournalCorrupt where it is damaged."""
        with self.guard:
            found = self._connection.execute("SELECT body FROM plan WHERE digest = ?", (digest,)).fetchone()
            if found is None:
                return None
            try:
                return self._cipher.open(digest, plan_place(digest), found[0])
            except NotOurs as error:
                raise JournalCorrupt(f"plan {digest} cannot be read: {error}") from error

    def plans(self) -> list[str]:
        """The digests of all archived plans."""
        with self.guard:
            return self._ids("SELECT digest FROM plan ORDER BY digest")

    def contents(self) -> Contents:
        """What is there, counted."""
        with self.guard:
            return Contents(self._connection)

    def close(self) -> None:
        """Let go of the file."""
        with self.guard:
            self._connection.close()

    def _ids(self, query: str, *values: object) -> list[str]:
        return [run for (run,) in self._connection.execute(query, values)]

    def _each(self, ids: Iterable[str]) -> list[RunRow | Unreadable]:
        rows: list[RunRow | Unreadable] = []
        for run in ids:
            try:
                row = self._run(run)
            except Unreadable as error:
                rows.append(error)
            else:
                # Pruned since its id was read.
                rows.extend([row] if row is not None else [])
        return rows

    def _run(self, run: str) -> RunRow | None:
        try:
            record = self._connection.execute(_RUN, (run,)).fetchone()
            if record is None:
                return None
            row = RunRow(*record)
            body = self._cipher.open(row.id, run_place(identity_of(row)), row.body or b"")
            return replace(row, status=RunStatus(row.status), delivered=bool(row.delivered), body=body)
        except NotOurs as error:
            raise Unreadable(run, f"its body: {error}") from error
        except (sqlite3.DatabaseError, ValueError) as error:
            raise Unreadable(run, str(error)) from error

    def _opened(self, event: EventRow) -> EventRow:
        try:
            place = event_place(event.seq, event.kind, event.at, event.commands)
            return replace(event, body=self._cipher.open(event.run, place, event.body))
        except NotOurs as error:
            raise Unreadable(event.run, f"event {event.seq}: {error}") from error
