"""Trust anchors, bundles, revocation lists and the policy, each with a sequence number that only grows.

One file that all workers share. A change is there for the next call of every worker: each looks up one number first,
and reads the rest only when it has grown. What was removed leaves its number behind, so that it cannot come back as it
was. TUF is not used: nothing is distributed here, the operator's own command writes the file on the same machine; a
distribution would verify its metadata and then call `put`.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType

__all__ = ["Item", "Kind", "OlderSequence", "Snapshot", "TrustStore"]

_BUSY_SECONDS = 2.0
_MAX_SEQUENCE = 2**53
"""What may be asked for: far above it SQLite ends, and a name that got there could never be changed again."""

_TABLES = """
CREATE TABLE IF NOT EXISTS items (
    kind TEXT NOT NULL, name TEXT NOT NULL, sequence INTEGER NOT NULL, data BLOB, PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    kind TEXT NOT NULL, name TEXT NOT NULL, number TEXT NOT NULL, PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO changes VALUES (1, 0);
"""


class Kind(Enum):
    """What an item is."""

    ANCHORS = "anchors"
    BUNDLE = "bundle"
    CRL = "crl"
    POLICY = "policy"


class OlderSequence(ValueError):
    """An item with this sequence, or a later one, was seen before: a rollback."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item. `data` is None where it was removed."""

    kind: Kind
    name: str
    sequence: int
    data: bytes | None

    @property
    def digest(self) -> str:
        """SHA-256 of its data, in hex."""
        return hashlib.sha256(self.data or b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment. `change` counts changes since the store was made."""

    change: int
    items: tuple[Item, ...]
    seen: Mapping[Kind, Mapping[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    """The highest numbers met so far: of lists by their series, of bundles by their trust domain."""

    def of(self, kind: Kind) -> dict[str, Item]:
        """Return the items of one kind by name, removed ones too."""
        return {item.name: item for item in self.items if item.kind is kind}


class TrustStore:
    """Reads and changes the items; opens a connection for each operation."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._connected() as connection:
            connection.executescript(_TABLES)

    def put(self, kind: Kind, name: str, data: bytes | None, sequence: int | None = None) -> Item:
        """Set an item, or remove it with None; without a sequence it gets the next.

        Raises OlderSequence, and ValueError for one that is out of reach.
        """
        if sequence is not None and sequence > _MAX_SEQUENCE:
            raise ValueError(f"a sequence is at most {_MAX_SEQUENCE}")
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute(
                "SELECT sequence FROM items WHERE kind = ? AND name = ?", (kind.value, name)
            ).fetchone()
            last = row[0] if row else 0
            number = last + 1 if sequence is None else sequence
            if number <= last:
                connection.execute("ROLLBACK")
                raise OlderSequence(f"{kind.value} {name}: sequence {number}, and {last} was seen before")
            connection.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)", (kind.value, name, number, data))
            connection.execute("UPDATE changes SET count = count + 1")
            connection.execute("COMMIT")
        return Item(kind, name, number, data)

    def remember(self, kind: Kind, numbers: Mapping[str, int]) -> None:
        """Remember numbers of what was found good, where they are higher than those known: no way leads back."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            for name, number in numbers.items():
                row = connection.execute(
                    "SELECT number FROM seen WHERE kind = ? AND name = ?", (kind.value, name)
                ).fetchone()
                if row is None or int(row[0]) < number:
                    # As text: the number of a list has up to 20 bytes.
                    connection.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (kind.value, name, str(number)))
                    connection.execute("UPDATE changes SET count = count + 1")
            connection.execute("COMMIT")

    def change(self) -> int:
        """Return how many changes there were: what tells a reader whether it knows the latest."""
        with self._connected() as connection:
            (count,) = connection.execute("SELECT count FROM changes").fetchone()
        return int(count)

    def snapshot(self) -> Snapshot:
        """Return everything, as of one moment."""
        with self._connected() as connection:
            connection.execute("BEGIN")
            (count,) = connection.execute("SELECT count FROM changes").fetchone()
            rows = connection.execute("SELECT kind, name, sequence, data FROM items ORDER BY kind, name").fetchall()
            met = connection.execute("SELECT kind, name, number FROM seen").fetchall()
            connection.execute("COMMIT")
        seen: dict[Kind, dict[str, int]] = {kind: {} for kind in Kind}
        for kind, name, number in met:
            seen[Kind(kind)][name] = int(number)
        return Snapshot(count, tuple(Item(Kind(kind), name, number, data) for kind, name, number, data in rows), seen)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._file, timeout=_BUSY_SECONDS, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            yield connection
