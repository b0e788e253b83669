"""The reference attester: answers a challenge with a token that is bound to nonce, context and this server's own key.

Served under `/.well-known/penstock-attestation`. `issue` stands for whoever issues identities to this server, such as a
SPIRE agent: it is asked for a JWT-SVID with the audience that the binding gives, and so sees each challenge itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable

PATH = "/.well-known/penstock-attestation"
_LABEL = b"penstock-attestation-v1"

Issuer = Callable[[str], str]
"""From an audience to a token for it."""


def answer(body: bytes, own_spki: bytes, issue: Issuer) -> bytes:
    """Answer one question. `own_spki` is the DER of the public key that this server shows in its handshakes."""
    asked = json.loads(body)
    if asked.get("v") != 1 or "jwt-svid" not in asked.get("kinds", ()):
        raise ValueError("a question of another version, or for evidence of another kind")
    nonce, context = _decoded(asked["nonce"]), _decoded(asked["context"])
    token = issue(f"{_LABEL.decode()}:{binding(nonce, context, own_spki).hex()}")
    return json.dumps({"kind": "jwt-svid", "evidence": _encoded(token.encode()), "endorsements": []}).encode()


def binding(nonce: bytes, context: bytes, own_spki: bytes) -> bytes:
    """B = SHA-256("penstock-attestation-v1" || nonce || context || SHA-256(SPKI))."""
    if len(nonce) != 32 or len(context) != 32:
        raise ValueError("nonce and context have 32 bytes each")
    return hashlib.sha256(_LABEL + nonce + context + hashlib.sha256(own_spki).digest()).digest()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
