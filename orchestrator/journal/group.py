"""Many submissions as one transaction: each judged against what the journal holds, then written together.

Submissions are judged one by one, in order, before anything is written; so one that is refused costs no other, and what
is written contradicts nothing.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from orchestrator.journal.cipher import Cipher
from orchestrator.journal.errors import EntryRefused, JournalError, KeyTaken
from orchestrator.journal.places import event_place, identity_of, plan_place, run_place
from orchestrator.journal.rows import UNFINISHED, EventRow, RunRow, RunUpdate
from orchestrator.journal.schema import PAGE_BYTES
from orchestrator.journal.standing import CHANGING, Standing, check_event, check_run, check_texts, check_update, require
from orchestrator.journal.store import Store
from orchestrator.journal.submission import Begin, Mark, Note, Outcome, PutPlan, Submission

__all__ = ["Desk", "Group"]

ROWS_AT_ONCE = 64
"""Rows of one INSERT. Every statement lets go of the interpreter's lock and has to win it back from a busy loop, so few
statements matter more than their length; powers of two keep the prepared ones few."""

_INSERT = {
    "plan": "INSERT INTO plan (digest, body)",
    "run": "INSERT INTO run (number, id, pipeline, hook, plan, key, key_digest, machine, started_at, status, verdict, "
    "reason, ended_at, confirm_by, delivered)",
    "run_body": "INSERT INTO run_body (number, body)",
    "event": "INSERT INTO event (run, seq, kind, commands, at, body)",
}
_UPDATE = f"UPDATE run SET {', '.join(f'{name} = ?' for name in CHANGING)} WHERE number = ?"


@dataclass(slots=True)
class Group:
    """What one transaction writes, by table, and what becomes of each submission then."""

    plans: list[Sequence[object]] = field(default_factory=list)
    runs: list[Sequence[object]] = field(default_factory=list)
    bodies: list[Sequence[object]] = field(default_factory=list)
    events: list[Sequence[object]] = field(default_factory=list)
    changed: dict[str, Standing] = field(default_factory=dict)
    keys: dict[tuple[str, str], RunRow] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def pages(self) -> int:
        """At most so many pages are written for it, if no body is long: a leaf of an index for each row, and a few."""
        rows = len(self.events) + len(self.changed) + 3 * len(self.runs)
        return 8 + rows + sum(outcome.cost for outcome in self.outcomes) // PAGE_BYTES

    def write(self, connection: sqlite3.Connection) -> None:
        """Write everything and wait for the disk. Raise sqlite3.Error when it did not get there."""
        if not (self.plans or self.runs or self.events or self.changed):
            return
        connection.execute("BEGIN IMMEDIATE")
        for table, rows in (
            ("plan", self.plans),
            ("run", self.runs),
            ("run_body", self.bodies),
            ("event", self.events),
        ):
            for part in _parts(rows):
                connection.execute(_insert(table, len(part), len(part[0])), _flat(part))
        changed = [(*standing.columns(), standing.number) for standing in self.changed.values()]
        connection.executemany(_UPDATE, changed)
        connection.execute("COMMIT")


class Desk:
    """Judges submissions; belongs to the writer's thread. `kept` are plans that this process put: prune leaves them."""

    def __init__(self, connection: sqlite3.Connection, cipher: Cipher, machine: int) -> None:
        self.kept: set[str] = set()
        self._store = Store(connection, cipher)
        self._cipher = cipher
        self._machine = machine
        self._plans: set[str] = {digest for (digest,) in connection.execute("SELECT digest FROM plan")}
        (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM run").fetchone()
        self._number: int = last
        # Of runs in motion; a settled one is looked up again when somebody comes back to it.
        self._standings: dict[str, Standing] = {}
        self._settled: list[str] = []

    def draft(self, submissions: Iterable[Submission]) -> Group:
        """Judge them in order. Raise sqlite3.Error when the journal cannot be read."""
        group = Group()
        for submission in submissions:
            refusal: JournalError | None = None
            try:
                self._judge(group, submission)
            except JournalError as error:
                refusal = error
            group.outcomes.append(Outcome(partial(submission.done, refusal), submission.cost))
        for run in self._settled:
            self._standings.pop(run, None)
        self._settled.clear()
        return group

    def forget(self, plans: Iterable[str]) -> None:
        """These plans were removed."""
        self._plans.difference_update(plans)

    def _judge(self, group: Group, submission: Submission) -> None:
        match submission:
            case Note(event, update):
                self._note(group, event, update)
            case Begin(run, event):
                self._begin(group, replace(run, machine=self._machine), event)
            case Mark(run, update):
                check_update(update)
                self._change(group, run, self._standing(run), update)
            case PutPlan(digest, body):
                self._put_plan(group, digest, body)

    def _begin(self, group: Group, run: RunRow, first: EventRow) -> None:
        check_run(run, first)
        require(run.plan in self._plans, f"run {run.id}: plan {run.plan} was not put before")
        self._require_free(group, run)
        self._number += 1
        standing = self._standings[run.id] = Standing.begun(self._number, run, first.seq)
        if run.key is not None:
            group.keys[run.pipeline, run.key] = run
        identity = identity_of(run)
        group.runs.append((self._number, *identity, *standing.columns()))
        group.bodies.append((self._number, self._cipher.seal(run.id, run_place(identity), run.body)))
        group.events.append(self._sealed(self._number, first))

    def _require_free(self, group: Group, run: RunRow) -> None:
        """Neither the id nor the key may be taken, on the disk or earlier in this group."""
        known = run.id in self._standings or self._store.standing(run.id) is not None
        require(not known, f"run {run.id} was begun before")
        if run.key is None:
            return
        existing = group.keys.get((run.pipeline, run.key)) or self._store.by_key(run.pipeline, run.key)
        if existing is not None:
            raise KeyTaken(existing)

    def _note(self, group: Group, event: EventRow, update: RunUpdate | None) -> None:
        standing = self._standing(event.run)
        if event.seq != standing.seq + 1:
            raise EntryRefused(f"run {event.run} has {standing.seq} as its last event; {event.seq} does not follow")
        check_event(event)
        if update is not None:
            check_update(update)
        group.events.append(self._sealed(standing.number, event))
        standing.seq = event.seq
        if update is not None:
            self._change(group, event.run, standing, update)

    def _change(self, group: Group, run: str, standing: Standing, update: RunUpdate) -> None:
        standing.change(update)
        group.changed[run] = standing
        if standing.status not in UNFINISHED:
            self._settled.append(run)

    def _put_plan(self, group: Group, digest: str, body: bytes) -> None:
        check_texts(digest)
        self.kept.add(digest)
        if digest not in self._plans:
            self._plans.add(digest)
            group.plans.append((digest, self._cipher.seal(digest, plan_place(digest), body)))

    def _standing(self, run: str) -> Standing:
        standing = self._standings.get(run)
        if standing is None:
            check_texts(run)
            standing = self._store.standing(run)
            if standing is None:
                raise EntryRefused(f"run {run} was never begun, or was pruned")
            self._standings[run] = standing
            if standing.status not in UNFINISHED:
                self._settled.append(run)
        return standing

    def _sealed(self, number: int, event: EventRow) -> Sequence[object]:
        place = event_place(event.seq, event.kind, event.at, event.commands)
        sealed = self._cipher.seal(event.run, place, event.body)
        return number, event.seq, event.kind, event.commands, event.at, sealed


def _parts(rows: Sequence[Sequence[object]]) -> Iterator[Sequence[Sequence[object]]]:
    """Cut into as many as fit into one statement each, in powers of two."""
    begun = 0
    while begun < len(rows):
        size = min(ROWS_AT_ONCE, 1 << (len(rows) - begun).bit_length() - 1)
        yield rows[begun : begun + size]
        begun += size


def _flat(rows: Iterable[Sequence[object]]) -> list[object]:
    return [value for row in rows for value in row]


@functools.cache
def _values(rows: int, columns: int) -> str:
    return ", ".join(["(" + ", ".join("?" * columns) + ")"] * rows)


@functools.cache
def _insert(table: str, rows: int, columns: int) -> str:
    return f"{_INSERT[table]} VALUES {_values(rows, columns)}"
