"""Digests of what a server showed, as the record names it: whoever kept the bytes proves that these were judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

__all__ = ["digest_of_answer", "digest_of_chain", "digest_of_handed"]

_LENGTH_BYTES = 4


def digest_of_chain(presented: Sequence[bytes]) -> str:
    """Digest certificates in DER as they were presented, each behind its length in four bytes, the highest first."""
    if not any(presented):
        return ""
    digest = hashlib.sha256()
    for der in presented:
        digest.update(len(der).to_bytes(_LENGTH_BYTES, "big"))
        digest.update(der)
    return digest.hexdigest()


def digest_of_answer(body: bytes) -> str:
    """Digest what came back to a challenge: kind, evidence and endorsements in the attester's own spelling."""
    return hashlib.sha256(body).hexdigest() if body else ""


def digest_of_handed(evidence: object) -> str:
    """Digest the evidence of a record: JSON with sorted keys, without white space, in ASCII."""
    if not evidence:
        return ""
    return hashlib.sha256(json.dumps(evidence, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
