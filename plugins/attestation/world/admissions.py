"""What was known of each server when it was last admitted, in one file that all workers share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from attest.drift import Known

__all__ = ["Admissions", "Approval"]

_BUSY_SECONDS = 2.0
_TABLES = """
CREATE TABLE IF NOT EXISTS approvals (
    server TEXT NOT NULL, tenant TEXT NOT NULL, digest TEXT NOT NULL, given INTEGER NOT NULL, codes TEXT NOT NULL,
    PRIMARY KEY (server, tenant)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS admitted (
    server TEXT NOT NULL, tenant TEXT NOT NULL, spki TEXT NOT NULL, spiffe_id TEXT NOT NULL, anchor TEXT NOT NULL,
    evidence TEXT NOT NULL, PRIMARY KEY (server, tenant)
) STRICT, WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Approval:
    """What a server has become, by its digest, and whether an operator approved of it."""

    server: str
    tenant: str
    digest: str
    given: bool
    codes: str


class Admissions:
    """The last admission of each canonical URL, by tenant."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._writing() as connection:
            for statement in _TABLES.split(";"):
                connection.execute(statement)

    def last(self, server: str, tenant: str) -> Known | None:
        """Return what was known of a server. Raises sqlite3.OperationalError."""
        with self._writing() as connection:
            row = connection.execute(
                "SELECT spki, spiffe_id, anchor, evidence FROM admitted WHERE server = ? AND tenant = ?",
                (server, tenant),
            ).fetchone()
        return (
            None
            if row is None
            else Known(row[0], row[1], row[2], tuple((kind, whom) for kind, whom in json.loads(row[3])))
        )

    def admit(self, server: str, tenant: str, known: Known) -> None:
        """Remember an admission in the place of the one before. Raises sqlite3.OperationalError."""
        row = (server, tenant, known.spki, known.spiffe_id, known.anchor, json.dumps(known.evidence))
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO admitted VALUES (?, ?, ?, ?, ?, ?)", row)
            connection.execute("DELETE FROM approvals WHERE server = ? AND tenant = ?", (server, tenant))

    def approved(self, server: str, tenant: str) -> tuple[str, ...]:
        """Return the digest of what the server may have become, if an operator said so."""
        with self._writing() as connection:
            row = connection.execute(
                "SELECT digest FROM approvals WHERE server = ? AND tenant = ? AND given", (server, tenant)
            ).fetchone()
        return () if row is None else (row[0],)

    def ask(self, server: str, tenant: str, digest: str, codes: Sequence[str]) -> None:
        """Ask for an approval of what a server has become; only the newest is asked for, and a given one is kept."""
        row = (server, tenant, digest, " ".join(codes))
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO approvals VALUES (?, ?, ?, 0, ?) ON CONFLICT DO UPDATE "
                "SET digest = excluded.digest, codes = excluded.codes WHERE NOT given",
                row,
            )

    def approve(self, server: str, tenant: str, digest: str) -> bool:
        """Give an approval that is asked for, by exactly this digest; say whether it was."""
        with self._writing() as connection:
            given = connection.execute(
                "UPDATE approvals SET given = 1 WHERE server = ? AND tenant = ? AND digest = ?",
                (server, tenant, digest),
            )
            return given.rowcount == 1

    def withdraw(self, server: str, tenant: str) -> bool:
        """Forget an approval, given or asked for; say whether there was one."""
        with self._writing() as connection:
            gone = connection.execute("DELETE FROM approvals WHERE server = ? AND tenant = ?", (server, tenant))
            return gone.rowcount == 1

    def approvals(self) -> list[Approval]:
        """Return all of them."""
        with self._writing() as connection:
            rows = connection.execute("SELECT * FROM approvals ORDER BY server, tenant").fetchall()
        return [Approval(server, tenant, digest, bool(given), codes) for server, tenant, digest, given, codes in rows]

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
