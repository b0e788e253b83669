"""Work on many rows: pruning and giving a journal a new key. Each step is one bounded transaction; groups go between.

A kill between two steps loses nothing: what was not done yet is done by the next call.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.journal.cipher import Cipher, Entropy, Key, NotOurs, new_key
from orchestrator.journal.group import Desk
from orchestrator.journal.keyfile import write_keys
from orchestrator.journal.places import IDENTITY, SEAL_OWNER, SEAL_PLACE, event_place, plan_place, run_place
from orchestrator.journal.rows import FINISHED
from orchestrator.journal.schema import named
from orchestrator.journal.store import Store
from orchestrator.journal.submission import Chores

__all__ = ["prune", "rekey"]

RUNS_A_STEP = 100
PAGES_A_STEP = 1000
"""4 MiB given back to the file system at once."""

ROWS_A_STEP = 256
BYTES_A_STEP = 4 * 2**20
"""Some milliseconds of work, which the next group may have to wait for."""

_PRUNABLE = """
SELECT number FROM run
WHERE status IN (?, ?) AND (? IS NULL OR coalesce(ended_at, started_at) < ?) AND (? IS NULL OR number < ?)
ORDER BY number LIMIT ?
"""
_NEWEST = "SELECT number FROM run WHERE status IN (?, ?) ORDER BY number DESC LIMIT 1 OFFSET ?"


def prune(
    connection: sqlite3.Connection, desk: Desk, before: float | None, keep: int | None, plans: Collection[str] | None
) -> Chores:
    """Remove runs that are finished, then plans that no run names, then give the room back."""
    statuses = tuple(status.value for status in FINISHED)
    removed = 0
    oldest_kept = None if keep is None else _oldest_kept(connection, statuses, keep)
    bounds = (before, before, oldest_kept, oldest_kept)
    while found := [number for (number,) in connection.execute(_PRUNABLE, (*statuses, *bounds, RUNS_A_STEP))]:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("DELETE FROM run WHERE number = ?", ((number,) for number in found))
        connection.execute("COMMIT")
        removed += len(found)
        yield
    yield from _prune_plans(connection, desk, plans)
    yield from _shrink(connection)
    return removed


def _oldest_kept(connection: sqlite3.Connection, statuses: tuple[str, ...], keep: int) -> int | None:
    """The number below which `keep` does not hold a run; a number beyond all where it holds none."""
    if keep <= 0:
        return 2**62
    found = connection.execute(_NEWEST, (*statuses, keep - 1)).fetchone()
    return found[0] if found else 0


def _prune_plans(connection: sqlite3.Connection, desk: Desk, plans: Collection[str] | None) -> Iterator[None]:
    stay = desk.kept if plans is None else plans
    query = "SELECT digest FROM plan WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.plan = plan.digest)"
    unnamed = [digest for (digest,) in connection.execute(query) if digest not in stay]
    if unnamed:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("DELETE FROM plan WHERE digest = ?", ((digest,) for digest in unnamed))
        connection.execute("COMMIT")
        desk.forget(unnamed)
        yield


def _shrink(connection: sqlite3.Connection) -> Iterator[None]:
    def free() -> int:
        count: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
        return count

    left = free()
    while left:
        connection.execute(f"PRAGMA incremental_vacuum({PAGES_A_STEP})").fetchall()
        yield
        before, left = left, free()
        if left >= before:
            return


def rekey(connection: sqlite3.Connection, cipher: Cipher, keys: Path, readers: Store, entropy: Entropy) -> Chores:
    """Seal everything anew with a fresh key. Raise JournalError where the key file cannot be written.

    The new key is on the disk before anything is sealed with it, the old ones until nothing needs them. What cannot be
    opened stays as it is.
    """
    fresh = (new_key(entropy), *cipher.keys)
    _write(keys, fresh)
    cipher.renew(fresh)
    changed = 0
    for table in _SEALED:
        last: int | None = 0
        while last is not None:
            rows, last = _batch(connection, table, last)
            resealed = [pair for row in rows for pair in _resealed(cipher, table, row)]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(table.update, resealed)
            connection.execute("COMMIT")
            changed += len(resealed)
            yield
    # What the old keys sealed leaves the log too, before they go.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    _write(keys, fresh[:1])
    # A reader may just hold a row that an old key sealed.
    with readers.guard:
        cipher.renew(fresh[:1])
    return changed


Row = tuple[int, bytes, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A table with sealed values. `select` gives number, value, and what `home` makes owner and place of."""

    select: str
    update: str
    home: Callable[..., tuple[str, bytes]]


_SEALED = (
    _Sealed(
        "SELECT rowid, value FROM meta WHERE name = 'seal' AND rowid > ? ORDER BY rowid",
        "UPDATE meta SET value = ? WHERE rowid = ?",
        lambda: (SEAL_OWNER, SEAL_PLACE),
    ),
    _Sealed(
        "SELECT rowid, body, digest FROM plan WHERE rowid > ? ORDER BY rowid",
        "UPDATE plan SET body = ? WHERE rowid = ?",
        lambda digest: (digest, plan_place(digest)),
    ),
    _Sealed(
        f"SELECT number, body, {', '.join(IDENTITY)} FROM run_body JOIN run USING (number) "
        "WHERE number > ? ORDER BY number",
        "UPDATE run_body SET body = ? WHERE number = ?",
        lambda *identity: (identity[0], run_place(identity)),
    ),
    _Sealed(
        "SELECT event.number, body, id, seq, kind, at, commands FROM event JOIN run ON run.number = event.run "
        "WHERE event.number > ? ORDER BY event.number",
        "UPDATE event SET body = ? WHERE number = ?",
        lambda run, *others: (run, event_place(*others)),
    ),
)


def _batch(connection: sqlite3.Connection, table: _Sealed, after: int) -> tuple[list[Row], int | None]:
    """The next rows, and the number of the last; None when there are no more."""
    rows: list[Row] = []
    size = 0
    for number, sealed, *columns in connection.execute(table.select, (after,)):
        rows.append((number, sealed, tuple(columns)))
        size += len(sealed)
        if len(rows) >= ROWS_A_STEP or size >= BYTES_A_STEP:
            return rows, number
    return rows, None


def _resealed(cipher: Cipher, table: _Sealed, row: Row) -> Iterator[tuple[bytes, int]]:
    number, sealed, columns = row
    if cipher.is_newest(sealed):
        return
    owner, place = table.home(*columns)
    try:
        body = cipher.open(owner, place, sealed)
    except NotOurs:
        return
    yield cipher.seal(owner, place, body), number


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    try:
        write_keys(path, keys)
    except OSError as error:
        raise named(error) from error
