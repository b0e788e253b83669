"""Nonces that were issued and used: each is good for one verification, across processes, crashes and kills.

A nonce is consumed before anything is verified with it, in one transaction that is on the disk when it returns. Whoever
crashes afterwards has burnt it. No clock and no randomness are read here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from attest.binding import NONCE_BYTES

__all__ = ["LIFETIME", "NonceStore", "StoreBusy", "Subject"]

LIFETIME = timedelta(minutes=5)
"""From the question to the evidence: far more than an attester needs, far less than it takes to forget one."""

_BUSY_SECONDS = 2.0
"""How long to wait for another process that writes; a write takes a few milliseconds."""

_KEPT = timedelta(hours=1)
"""How long a nonce is remembered after its end: until then a late one is told from one that never was."""

_MAX_OUTSTANDING = 100_000
"""Nonces kept at most; one takes about 300 bytes."""

_TABLES = """
CREATE TABLE IF NOT EXISTS issued (
    nonce BLOB PRIMARY KEY, server TEXT NOT NULL, spki TEXT NOT NULL, policy TEXT NOT NULL, ends REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS issued_ends ON issued (ends);
CREATE TABLE IF NOT EXISTS used (nonce BLOB PRIMARY KEY, ends REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS used_ends ON used (ends);
"""


class StoreBusy(Exception):
    """The store is locked or full; the same may succeed later."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a nonce is issued for: the server's id, its key as the handshake showed it, the digest of the policy."""

    server: str
    spki: str
    policy: str


class NonceStore:
    """The nonces of one plugin, in one file that all its processes share. Opens a connection for each operation."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._writing() as connection:
            for statement in _TABLES.split(";"):
                connection.execute(statement)

    def issue(self, nonce: bytes, subject: Subject, now: datetime) -> None:
        """Remember a nonce of fresh randomness. Raises StoreBusy, and ValueError for one that exists already."""
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
        ends, forgotten = (now + LIFETIME).timestamp(), (now - _KEPT).timestamp()
        with self._writing() as connection:
            connection.execute("DELETE FROM issued WHERE ends < ?", (forgotten,))
            connection.execute("DELETE FROM used WHERE ends < ?", (forgotten,))
            (count,) = connection.execute("SELECT count(*) FROM issued").fetchone()
            if count >= _MAX_OUTSTANDING:
                raise StoreBusy(f"{count} nonces are outstanding")
            row = (nonce, subject.server, subject.spki, subject.policy, ends)
            try:
                connection.execute("INSERT INTO issued VALUES (?, ?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:
                raise ValueError("a nonce is issued once") from None

    def consume(self, nonce: bytes, subject: Subject, now: datetime) -> str | None:
        """Burn a nonce and return None if it was good for `subject`, else the code of why not. Raises StoreBusy.

        It is burnt either way, if it was ever issued, and stays so when this process ends before anything is verified.
        """
        with self._writing() as connection:
            found = connection.execute(
                "SELECT server, spki, policy, ends FROM issued WHERE nonce = ?", (nonce,)
            ).fetchone()
            if found is None:
                return "C-NONCE-UNKNOWN"
            try:
                connection.execute("INSERT INTO used VALUES (?, ?)", (nonce, found[3]))
            except sqlite3.IntegrityError:
                return "C-NONCE-REUSED"
        if now.timestamp() >= found[3]:
            return "C-NONCE-EXPIRED"
        return None if Subject(*found[:3]) == subject else "C-NONCE-OTHER-SERVER"

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that excludes every other writer from its first statement on."""
        try:
            connection = sqlite3.connect(self._file, timeout=_BUSY_SECONDS, isolation_level=None)
            with closing(connection):
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise StoreBusy(str(error)) from error
