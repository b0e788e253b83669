"""What ties evidence to one nonce, one server and one key: three digests that both sides compute."""

from __future__ import annotations

import hashlib
import hmac

from attest.verdict import Findings

__all__ = ["NONCE_BYTES", "audience", "binding", "binding_of", "bound", "context"]

NONCE_BYTES = 32
_LABEL = b"penstock-attestation-v1"
_AUDIENCE = "penstock-attestation-v1:"


def context(server: str, policy_digest: bytes) -> bytes:
    """What the verifier asks about: SHA-256 of the server's id and the 32 bytes of the policy's digest."""
    return hashlib.sha256(server.encode() + _digest(policy_digest)).digest()


def binding(nonce: bytes, context: bytes, spki: bytes) -> bytes:
    """B = SHA-256("penstock-attestation-v1" || nonce || context || SHA-256(SPKI)).

    `spki` is the attester's own public key, in DER; the verifier takes the one that it saw in its own handshake.
    """
    return binding_of(nonce, context, hashlib.sha256(spki).digest())


def binding_of(nonce: bytes, context: bytes, spki_digest: bytes) -> bytes:
    """B, where only the digest of the key is known."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
    return hashlib.sha256(_LABEL + nonce + _digest(context) + _digest(spki_digest)).digest()


def audience(binding: bytes) -> str:
    """B as the audience of a token, for attesters whose evidence is a JWT-SVID."""
    return _AUDIENCE + binding.hex()


def bound(findings: Findings, path: str, expected: bytes, actual: bytes) -> None:
    """Check that evidence carries the binding of this very challenge."""
    if not hmac.compare_digest(expected, actual):
        findings.against("C-BINDING", path, expected.hex(), actual.hex())


def _digest(value: bytes) -> bytes:
    """Fixed lengths are what makes the concatenations have one reading."""
    if len(value) != hashlib.sha256().digest_size:
        raise ValueError("a digest has 32 bytes")
    return value
