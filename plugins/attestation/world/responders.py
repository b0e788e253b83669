"""Asks configured OCSP responders about the certificates that a server showed, and keeps what they said for a while.

What a server shows decides what is asked, and never who: the address in a certificate is not looked at.
"""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attest.certificates import Certificate, Refused, parse
from attest.limits import MAX_CERTIFICATES, MAX_OCSP_BYTES
from attest.ocsp import request_for, useful_until
from attest.path import Signatures
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
"""When a responder that did not answer, or said nothing of use, is asked again about the same certificate."""

_FAIR_SECONDS = 2.0
"""Who has not answered in this time is taken to be out of reach; `seconds`, where that is less."""

_MAX_REQUESTS = 4
"""Certificates of one chain that are asked about: its leaf, and those above it that are no anchors."""

_ANYTHING = b""
"""Stands for every request, in the place of the digest of one: whoever cannot be reached has no answer to any."""

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
        url, asked = str(responder.url), hashlib.sha256(request).digest()
        with self._connected() as connection:
            kept = connection.execute(
                "SELECT answer FROM answers WHERE responder = ? AND request IN (?, ?) AND until > ? "
                "ORDER BY length(request) DESC",
                (url, asked, _ANYTHING, now.timestamp()),
            ).fetchone()
        if kept is not None:
            return bytes(kept[0])
        post = Post(responder.url.path or "/", request, "", MAX_OCSP_BYTES, content_type="application/ocsp-request")
        answer, until = b"", now + min(_AGAIN, responder.every)
        had = settings.dialling.left
        try:
            answer = ask(responder.url, responder.anchors, post, settings, now)
            end = apart(lambda: _end(answer))["end"]
            if isinstance(end, float) and end > now.timestamp():
                until = min(now + responder.every, datetime.fromtimestamp(end, UTC))
        except Refusal as refusal:
            if had < min(_FAIR_SECONDS, settings.dialling.seconds):
                return b""  # the call's own time was used up, which says nothing about the responder
            # Whoever cannot be reached is not waited for again with the next certificate.
            asked = _ANYTHING if refusal.code == "N-UNREACHABLE" else asked
        row = (url, asked, answer, until.timestamp())
        with self._connected() as connection:
            connection.execute("DELETE FROM answers WHERE until < ?", ((now - _KEPT).timestamp(),))
            connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", row)
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


def _end(answer: bytes) -> dict[str, Json]:
    end = useful_until(answer)
    return {"end": None if end is None else end.timestamp()}


def _requests(chain: Sequence[bytes], anchors: Anchors) -> dict[str, Json]:
    """The questions, each about a certificate that an anchor, or an authority below one, has signed.

    Whoever makes certificates of their own in the name of an authority has nobody asked about them.
    """
    try:
        shown = [parse(der) for der in chain[:MAX_CERTIFICATES]]
        issuers = _issuers_of(shown, anchors)
        asked = [(one, issuers[one]) for one in shown if one in issuers and not one.self_issued][:_MAX_REQUESTS]
        return {"requests": [base64.b64encode(request_for(*pair)).decode() for pair in asked]}
    except (Refused, ValueError) as error:
        return {"refused": "C-PARSE", "why": str(error)}


def _issuers_of(shown: Sequence[Certificate], anchors: Anchors) -> dict[Certificate, Certificate]:
    """Find whose key signed each certificate, from the anchors downwards; of equal names the right one."""
    found: dict[Certificate, Certificate] = {}
    signatures = Signatures()
    above: list[Certificate] = [*anchors.certificates]
    while above:
        below = []
        for one in shown:
            issuer = next((two for two in above if one not in found and _is_signed(one, two, signatures)), None)
            if issuer is not None:
                found[one] = issuer
                below.append(one)
        above = below
    return found


def _is_signed(one: Certificate, issuer: Certificate, signatures: Signatures) -> bool:
    key = issuer.key() if issuer.subject == one.issuer else None
    return key is not None and signatures.verify(one, key, issuer.spki) is True
