"""The database file: its tables, its settings, its versions, and what SQLite's complaints about it mean."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from pathlib import Path
from urllib.parse import quote

from orchestrator.journal.errors import (
    JournalCorrupt,
    JournalDiskFull,
    JournalError,
    JournalReadOnly,
    JournalVersion,
)
from orchestrator.journal.keyfile import sync_folder

__all__ = [
    "PAGE_BYTES",
    "SCHEMA",
    "connect_reading",
    "connect_writing",
    "create",
    "inspect",
    "named",
    "read_meta",
    "recognise",
]

SCHEMA = 1
APPLICATION_ID = 0x50534A4C
"""`PSJL`, in the header of the file: a database of somebody else is refused."""

PAGE_BYTES = 4096

BUSY_MILLISECONDS = 2000
"""Only a backup tool can be in the way: the lock keeps other hosts out."""

QUICK_CHECK_SECONDS = 5.0
"""A gigabyte or two. A larger journal is served after this long; damage further back shows when it is read."""

# Bodies stand apart from runs: an update of a run's status must not write its payload again. Events name their run by
# its number: what an append costs is mostly the index of runs and numbers.
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL);
CREATE TABLE plan (digest TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE run (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    pipeline TEXT NOT NULL,
    hook TEXT NOT NULL,
    plan TEXT NOT NULL REFERENCES plan(digest),
    key TEXT,
    key_digest TEXT,
    machine INTEGER NOT NULL,
    started_at REAL NOT NULL,
    status TEXT NOT NULL,
    verdict TEXT,
    reason TEXT NOT NULL,
    ended_at REAL,
    confirm_by REAL,
    delivered INTEGER NOT NULL
);
CREATE UNIQUE INDEX run_key ON run(pipeline, key) WHERE key IS NOT NULL;
CREATE INDEX run_status ON run(status);
CREATE INDEX run_plan ON run(plan);
CREATE TABLE run_body (number INTEGER PRIMARY KEY REFERENCES run(number) ON DELETE CASCADE, body BLOB NOT NULL);
CREATE TABLE event (
    number INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run(number) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    commands BLOB NOT NULL,
    at REAL NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (run, seq)
);
"""


def create(path: Path, meta: dict[str, str | bytes | int]) -> None:
    """Make an empty journal. It gets its name last, so that a file of this name is never half a journal."""
    fresh = path.with_name(path.name + ".new")
    for leftover in (fresh, fresh.with_name(fresh.name + "-journal")):
        leftover.unlink(missing_ok=True)
    # SQLite would make it readable for others, and gives its log the rights that the database has.
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = _connect(fresh, "rw")
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(f"BEGIN; {_TABLES}")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA}")
        connection.execute("COMMIT")
    finally:
        connection.close()
    os.replace(fresh, path)
    sync_folder(path.parent)


def connect_writing(path: Path, *, max_bytes: int | None) -> sqlite3.Connection:
    """The one connection that writes. Nothing has been checked, but the file is a journal's and in WAL mode."""
    connection = _connect(path, "rw")
    try:
        _settle(connection)
        if max_bytes is not None:
            pages = max(1, max_bytes // PAGE_BYTES)
            connection.execute(f"PRAGMA max_page_count={pages}")
    except BaseException:
        connection.close()
        raise
    return connection


def _settle(connection: sqlite3.Connection) -> None:
    """How a journal is written: every commit waits for the disk, and the log is folded in between commits only."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA secure_delete=FAST")


def connect_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, from whatever thread."""
    return _connect(path, "ro")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_MILLISECONDS / 1000,
    )
    connection.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
    return connection


def recognise(connection: sqlite3.Connection) -> None:
    """Refuse what is no journal, or one of tomorrow, before anything is changed."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID or version < 1:
        raise JournalCorrupt("journal.db is not a journal of Penstock")
    if version > SCHEMA:
        written = read_meta(connection).get("penstock")
        needed = f"penstock {written}" if isinstance(written, str) else "the penstock that wrote it"
        raise JournalVersion(
            f"the journal has schema {version}, this penstock knows {SCHEMA}",
            hint=f"run it with {needed} or a newer one, or give this penstock a journal folder of its own",
        )


def read_meta(connection: sqlite3.Connection) -> dict[str, str | bytes | int]:
    """What the journal says of itself."""
    return dict(connection.execute("SELECT name, value FROM meta").fetchall())


def inspect(connection: sqlite3.Connection) -> None:
    """Look for damage, for a bounded time. Raise JournalCorrupt when some is found."""
    # A handler of progress would do, but SQLite before 3.41 does not call it while it walks the pages.
    bound = threading.Timer(QUICK_CHECK_SECONDS, connection.interrupt)
    bound.start()
    try:
        found = [line for (line,) in connection.execute("PRAGMA quick_check(1)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        bound.cancel()
        bound.join()
    if found != ["ok"]:
        raise JournalCorrupt(f"journal.db is damaged: {found[0] if found else 'it cannot be checked'}")


_OF_SYSTEM: dict[int, type[JournalError]] = {
    errno.EACCES: JournalReadOnly,
    errno.EPERM: JournalReadOnly,
    errno.EROFS: JournalReadOnly,
    errno.ENOSPC: JournalDiskFull,
    errno.EDQUOT: JournalDiskFull,
}
_MEANINGS: dict[int, tuple[type[JournalError], str]] = {
    sqlite3.SQLITE_FULL: (JournalDiskFull, "there is no room for more"),
    sqlite3.SQLITE_READONLY: (JournalReadOnly, "it cannot be written"),
    sqlite3.SQLITE_PERM: (JournalReadOnly, "it cannot be written"),
    sqlite3.SQLITE_CANTOPEN: (JournalReadOnly, "it cannot be opened"),
    sqlite3.SQLITE_CORRUPT: (JournalCorrupt, "it is damaged"),
    sqlite3.SQLITE_NOTADB: (JournalCorrupt, "it is not a database"),
}


def named(error: sqlite3.Error | OSError) -> JournalError:
    """Say which of our errors this is."""
    if isinstance(error, OSError):
        failed: type[JournalError] = _OF_SYSTEM.get(error.errno or 0, JournalError)
        return failed(f"{error.filename or 'the journal'}: {error.strerror}")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    kind, meaning = _MEANINGS.get(code & 0xFF, (JournalError, "SQLite cannot go on"))
    if isinstance(error, sqlite3.IntegrityError):
        meaning = "it contradicts itself"
    return kind(f"journal.db: {meaning}: {error} ({getattr(error, 'sqlite_errorname', 'no code')})")
