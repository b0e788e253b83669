"""SPIFFE IDs and trust domains (SPIFFE-ID sections 2 and 3), and the operator's patterns of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["BadSpiffeId", "SpiffeId", "is_allowed", "read_id", "read_trust_domain"]

_SCHEME = "spiffe://"
_MAX_ID_BYTES = 2048
_MAX_TRUST_DOMAIN_BYTES = 255
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+")


class BadSpiffeId(ValueError):
    """The text is no SPIFFE ID, with the code that says why."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """One identity. The path begins with `/`, or is empty for the trust domain itself."""

    trust_domain: str
    path: str

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"


def read_id(text: str) -> SpiffeId:
    """Read an ID. Raises BadSpiffeId."""
    if not text.startswith(_SCHEME):
        raise BadSpiffeId("S-SCHEME", "the scheme is not spiffe")
    if len(text.encode(errors="replace")) > _MAX_ID_BYTES:
        raise BadSpiffeId("S-ID-SYNTAX", f"longer than {_MAX_ID_BYTES} bytes")
    domain, slash, rest = text.removeprefix(_SCHEME).partition("/")
    segments = rest.split("/") if slash else []
    if not all(_SEGMENT.fullmatch(one) and one not in (".", "..") for one in segments):
        raise BadSpiffeId("S-ID-SYNTAX", "a segment of the path is empty, a dot, or holds another character")
    return SpiffeId(read_trust_domain(domain), slash + rest)


def read_trust_domain(text: str) -> str:
    """Read the name of a trust domain. Raises BadSpiffeId."""
    if len(text) > _MAX_TRUST_DOMAIN_BYTES or not _TRUST_DOMAIN.fullmatch(text):
        raise BadSpiffeId("S-TD-SYNTAX", "not the name of a trust domain")
    return text


def is_allowed(identity: SpiffeId, patterns: Iterable[str]) -> bool:
    """Whether a pattern is the ID itself or, ending in `/*`, the path above it."""
    text = str(identity)
    return any(text.startswith(one[:-1]) if one.endswith("/*") else text == one for one in patterns)
