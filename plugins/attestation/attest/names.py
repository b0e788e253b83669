"""Distinguished names, compared as RFC 5280 section 7.1 says: without regard to case, encoding and runs of spaces."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TypeAlias

from cryptography import x509

__all__ = ["Name", "begins_with", "normalized"]

Name: TypeAlias = tuple[frozenset[tuple[str, str | bytes]], ...]
"""One frozenset for each RDN, from the root of the directory downwards: (type, value prepared for comparison)."""


def normalized(name: x509.Name) -> Name:
    """Prepare a name for comparison with another."""
    prepared = (frozenset((part.oid.dotted_string, _prepared(part.value)) for part in rdn) for rdn in name.rdns)
    return _shared(tuple(prepared))


@lru_cache(maxsize=1024)
def _shared(name: Name) -> Name:
    """Equal names as one object: they are compared often, and found equal at a glance."""
    return name


def begins_with(name: Name, prefix: Name) -> bool:
    """Whether `name` stands in the subtree of `prefix`."""
    return name[: len(prefix)] == prefix


def _prepared(value: str | bytes) -> str | bytes:
    if isinstance(value, bytes):
        return value
    if value.isascii():
        return " ".join(value.lower().split())
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold()).split())
