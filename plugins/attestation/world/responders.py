"""Asks configured OCSP responders about the certificates that a server showed, and keeps what they said for a while.

What a server shows decides what is asked, and never who: the address in a certificate is not looked at.
"""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from attest.certificates import Refused, parse
from attest.limits import MAX_OCSP_BYTES
from attest.ocsp import request_for
from attest.policy import Rule, TlsIdentity
from attest.search import Anchors
from attest.strictjson import Json

from world.asking import apart, ask
from world.connector import Post
from world.identity import Refusal
from world.settings import Responder, Settings

__all__ = ["Responders"]

_BUSY_SECONDS = 2.0
_AGAIN = timedelta(seconds=60)
"""When a responder that did not answer is asked again about the same certificate."""

_MAX_REQUESTS = 4
"""Certificates of one chain that are asked about: its leaf, and those above it that are no anchors."""

_KEPT = timedelta(days=1)
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    responder TEXT NOT NULL, request BLOB NOT NULL, answer BLOB NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (responder, request)
) STRICT, WITHOUT ROWID
"""


class Responders:
    """Keeps answers for all workers, in one file. Opens a connection for each operation."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._connected() as connection:
            connection.execute(_TABLE)

    def answers(self, chain: Sequence[bytes], rule: Rule, settings: Settings, now: datetime) -> tuple[bytes, ...]:
        """Return what is said about a chain, in DER, unverified; a responder that says nothing is left out."""
        asked = [one for one in settings.responders if settings.policy.fetch and _is_for(one, rule, settings)]
        found: list[bytes] = []
        for responder in asked:
            anchors = _issuers(responder, settings)
            try:
                requests = apart(lambda: _requests(chain, anchors))["requests"]  # noqa: B023 - called at once
            except Refusal:
                continue
            for text in requests if isinstance(requests, list) else ():
                answer = self._answer(responder, base64.b64decode(str(text)), settings, now)
                found += [answer] if answer else []
        return tuple(found)

    def _answer(self, responder: Responder, request: bytes, settings: Settings, now: datetime) -> bytes:
        """What was said before, or is said now; nothing where the responder cannot be had, for a while."""
        key = (str(responder.url), hashlib.sha256(request).digest())
        with self._connected() as connection:
            kept = connection.execute(
                "SELECT answer FROM answers WHERE responder = ? AND request = ? AND until > ?", (*key, now.timestamp())
            ).fetchone()
        if kept is not None:
            return bytes(kept[0])
        post = Post(responder.url.path or "/", request, "", MAX_OCSP_BYTES, content_type="application/ocsp-request")
        try:
            answer, until = ask(responder.url, responder.anchors, post, settings, now), now + responder.every
        except Refusal:
            answer, until = b"", now + min(_AGAIN, responder.every)
        with self._connected() as connection:
            connection.execute("DELETE FROM answers WHERE until < ?", ((now - _KEPT).timestamp(),))
            connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (*key, answer, until.timestamp()))
        return answer

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._file, timeout=_BUSY_SECONDS, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            yield connection


def _is_for(responder: Responder, rule: Rule, settings: Settings) -> bool:
    if isinstance(rule.identity, TlsIdentity):
        return responder.issuers in rule.identity.anchors
    return responder.issuers in settings.bundles


def _issuers(responder: Responder, settings: Settings) -> Anchors:
    bundle = settings.bundles.get(responder.issuers)
    return settings.anchors[responder.issuers] if bundle is None else bundle.anchors


def _requests(chain: Sequence[bytes], anchors: Anchors) -> dict[str, Json]:
    """The questions, each about one certificate whose issuer, by its name, is there too."""
    made: list[Json] = []
    try:
        shown = [parse(der) for der in chain]
        for one in shown[:_MAX_REQUESTS]:
            issuers = [
                *anchors.by_subject.get(one.issuer, ()),
                *(other for other in shown if other.subject == one.issuer),
            ]
            if issuers and one.subject != one.issuer:
                made.append(base64.b64encode(request_for(one, issuers[0])).decode())
    except (Refused, ValueError) as error:
        return {"refused": "C-PARSE", "why": str(error)}
    return {"requests": made}
