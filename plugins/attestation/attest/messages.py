"""The question for evidence and its answer, as JSON: what a verifier sends to `/.well-known/penstock-attestation`."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

from attest.strictjson import Json, NotJson, b64url, read_object

__all__ = ["EVIDENCE_PATH", "MAX_ANSWER_BYTES", "Evidence", "Handed", "question", "read_evidence", "read_handed"]

EVIDENCE_PATH = "/.well-known/penstock-attestation"

MAX_ANSWER_BYTES = 1024 * 1024
"""An event log of a machine's boot has about 100 KiB, everything else less."""

_MAX_ENDORSEMENTS = 32
_MAX_HANDED = 8
_MEMBERS = {"kind", "evidence", "endorsements"}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an attester answers: its kind, and bytes that only that kind's verifier understands."""

    kind: str
    evidence: bytes
    endorsements: tuple[bytes, ...] = ()


def question(nonce: bytes, context: bytes, kinds: Sequence[str]) -> bytes:
    """Write the question."""
    members = {"v": 1, "nonce": _text(nonce), "context": _text(context), "kinds": list(kinds)}
    return json.dumps(members, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Handed:
    """Evidence in a record, with the nonce that it says it answers."""

    nonce: bytes
    evidence: Evidence


def read_handed(document: object) -> list[Handed]:
    """Read the evidence of a record: `{"v": 1, "answers": [{nonce, kind, evidence, endorsements}]}`. Raises NotJson."""
    if not isinstance(document, dict) or document.keys() != {"v", "answers"} or document["v"] != 1:
        raise NotJson("not evidence of a record: v and answers")
    answers = document["answers"]
    if not isinstance(answers, list) or len(answers) > _MAX_HANDED:
        raise NotJson(f"answers are no list of at most {_MAX_HANDED}")
    return [_handed(one) for one in answers]


def _handed(one: Json) -> Handed:
    nonce = one.get("nonce") if isinstance(one, dict) else None
    if not isinstance(one, dict) or not isinstance(nonce, str):
        raise NotJson("an answer without its nonce")
    decoded = b64url(nonce)
    return Handed(decoded, evidence_of({name: value for name, value in one.items() if name != "nonce"}))


def read_evidence(data: bytes) -> Evidence:
    """Read an answer: exactly the three members, each in its one spelling. Raises NotJson."""
    if len(data) > MAX_ANSWER_BYTES:
        raise NotJson(f"more than {MAX_ANSWER_BYTES} bytes")
    return evidence_of(read_object(data))


def evidence_of(document: dict[str, Json]) -> Evidence:
    """Take evidence from an object, wherever it stood. Raises NotJson."""
    kind, evidence, endorsements = (document.get(name) for name in ("kind", "evidence", "endorsements"))
    if document.keys() - _MEMBERS or not isinstance(kind, str) or not isinstance(evidence, str):
        raise NotJson("not kind, evidence and endorsements")
    listed = [] if endorsements is None else endorsements
    if not isinstance(listed, list) or len(listed) > _MAX_ENDORSEMENTS:
        raise NotJson(f"endorsements are no list of at most {_MAX_ENDORSEMENTS}")
    texts = [one for one in listed if isinstance(one, str)]
    if len(texts) != len(listed):
        raise NotJson("an endorsement that is no text")
    return Evidence(kind, b64url(evidence), tuple(b64url(one) for one in texts))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
