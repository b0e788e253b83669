"""What was known of each server when it was last admitted, in one file that all workers share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from attest.drift import Known

__all__ = ["Admissions"]

_BUSY_SECONDS = 2.0
_TABLE = """
CREATE TABLE IF NOT EXISTS admitted (
    server TEXT NOT NULL, tenant TEXT NOT NULL, spki TEXT NOT NULL, spiffe_id TEXT NOT NULL, anchor TEXT NOT NULL,
    evidence TEXT NOT NULL, PRIMARY KEY (server, tenant)
) STRICT, WITHOUT ROWID
"""


class Admissions:
    """The last admission of each canonical URL, by tenant."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._writing() as connection:
            connection.execute(_TABLE)

    def last(self, server: str, tenant: str) -> Known | None:
        """Return what was known of a server. Raises sqlite3.OperationalError."""
        with self._writing() as connection:
            row = connection.execute(
                "SELECT spki, spiffe_id, anchor, evidence FROM admitted WHERE server = ? AND tenant = ?",
                (server, tenant),
            ).fetchone()
        return None if row is None else Known(row[0], row[1], row[2], tuple(json.loads(row[3])))

    def admit(self, server: str, tenant: str, known: Known) -> None:
        """Remember an admission in the place of the one before. Raises sqlite3.OperationalError."""
        row = (server, tenant, known.spki, known.spiffe_id, known.anchor, json.dumps(known.evidence))
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO admitted VALUES (?, ?, ?, ?, ?, ?)", row)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
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
