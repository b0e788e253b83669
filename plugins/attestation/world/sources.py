"""Fetches revocation lists and bundles from where the operator says, and from nowhere else, into the trust store.

A step of its own: nothing that is verified leads to a source, and no verification waits for one. What was fetched is
good until it is due again; what cannot be had leaves what is there, which goes stale by itself.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from attest.bundles import BadBundle, read_bundle
from attest.crls import UnreadableCrl, parse_crl
from attest.limits import MAX_BUNDLE_BYTES, MAX_CRL_BYTES
from attest.strictjson import Json

from world.asking import apart, ask
from world.connector import Post
from world.identity import Refusal
from world.settings import BadSettings, Settings, Source, pem_blocks
from world.trust import Kind, TrustStore

__all__ = ["Fetched", "Sources"]

_BUSY_SECONDS = 2.0
_AGAIN = timedelta(seconds=60)
"""When a source that could not be had is asked again."""

_TAKEN = timedelta(seconds=60)
"""For how long a source is the business of the worker that took it: longer than a fetch, two dials, may take."""

_TABLE = """
CREATE TABLE IF NOT EXISTS sources (
    name TEXT NOT NULL, url TEXT NOT NULL, due REAL NOT NULL, PRIMARY KEY (name, url)
) STRICT, WITHOUT ROWID
"""
_MAX_BYTES = {Kind.CRL: 2 * MAX_CRL_BYTES, Kind.BUNDLE: MAX_BUNDLE_BYTES}
"""A list may come as PEM, which is a third longer than what it holds."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of all sources that were due: those with something new, and the codes of the others by name."""

    new: tuple[str, ...]
    failed: Mapping[str, str]


class Sources:
    """Remembers, for all workers, when each source is due. Opens a connection for each operation."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._connected() as connection:
            connection.execute(_TABLE)

    def fetch(self, settings: Settings, trust: TrustStore, now: datetime) -> Fetched:
        """Fetch what is due. A policy that says `fetch: false` makes nothing due."""
        new, failed = [], {}
        for source in settings.sources if settings.policy.fetch else ():
            if not self._take(source, now):
                continue
            try:
                if _put(source, _bytes(source, settings, now), settings, trust, now):
                    new.append(source.name)
                self._due(source, now + source.every)
            except Refusal as refusal:
                failed[source.name] = refusal.code
                self._due(source, now + min(_AGAIN, source.every))
                if refusal.code == "N-UNREACHABLE":
                    break  # one that is waited for is enough for one registration; the others are still due
        return Fetched(tuple(new), failed)

    def _take(self, source: Source, now: datetime) -> bool:
        """Whether a source is due and nobody else is at it; from now on this worker is."""
        until, key = (now + _TAKEN).timestamp(), (source.name, str(source.url))
        with self._connected() as connection:
            connection.execute("INSERT OR IGNORE INTO sources VALUES (?, ?, 0)", key)
            taken = connection.execute(
                "UPDATE sources SET due = ? WHERE name = ? AND url = ? AND due <= ?", (until, *key, now.timestamp())
            )
            return taken.rowcount == 1

    def _due(self, source: Source, at: datetime) -> None:
        with self._connected() as connection:
            key = (source.name, str(source.url))
            connection.execute("UPDATE sources SET due = ? WHERE name = ? AND url = ?", (at.timestamp(), *key))

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._file, timeout=_BUSY_SECONDS, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            yield connection


def _bytes(source: Source, settings: Settings, now: datetime) -> bytes:
    post = Post(source.url.path or "/", b"", "", _MAX_BYTES[source.kind], method="GET")
    return ask(source.url, source.anchors, post, settings, now)


def _put(source: Source, data: bytes, settings: Settings, trust: TrustStore, now: datetime) -> bool:
    """Store what came, if it is good and something new. Raises Refusal."""
    read = _crl if source.kind is Kind.CRL else _bundle
    made = apart(lambda: read(source, data, settings, now))["data"]
    text = base64.b64decode(str(made))
    before = trust.snapshot().of(source.kind).get(source.name)
    # What an operator removed stays so until an operator puts something in its place.
    if before is not None and before.data in (None, text):
        return False
    trust.put(source.kind, source.name, text)
    return True


def _crl(_: Source, data: bytes, settings: Settings, now: datetime) -> dict[str, Json]:
    try:
        ders = pem_blocks(data.decode("ascii")) if data.startswith(b"-----BEGIN ") else [data]
        lists = [parse_crl(der) for der in ders]
    except (UnreadableCrl, UnicodeDecodeError, BadSettings) as error:
        return {"refused": "R-CRL-PARSE", "why": str(error)}
    for one in lists:
        if one.number is not None and one.number < settings.collateral.numbers.get(one.series, 0):
            return {"refused": "R-CRL-ROLLBACK", "why": f"number {one.number}"}
        if one.this_update > now:
            return {"refused": "R-CRL-FUTURE", "why": one.this_update.isoformat()}
        if one.next_update is None or one.next_update < now:
            return {"refused": "R-CRL-STALE", "why": str(one.next_update)}
    return {"data": base64.b64encode(_pem(ders)).decode()}


def _pem(ders: Sequence[bytes]) -> bytes:
    wrapped = (base64.encodebytes(der).decode() for der in ders)
    return "".join(f"-----BEGIN X509 CRL-----\n{text}-----END X509 CRL-----\n" for text in wrapped).encode()


def _bundle(source: Source, data: bytes, settings: Settings, _: datetime) -> dict[str, Json]:
    known = settings.bundles.get(source.name)
    try:
        read_bundle(source.name, data, at_least=known.sequence if known and not known.refused else 0)
    except BadBundle as error:
        return {"refused": error.code, "why": str(error)}
    return {"data": base64.b64encode(data).decode()}
