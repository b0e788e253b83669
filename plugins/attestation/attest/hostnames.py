"""DNS names: their form, wildcards, and whether a name that is presented is the one asked for (RFC 9525)."""

from __future__ import annotations

import re
from functools import cache

from publicsuffixlist import PublicSuffixList

__all__ = ["covers_public_suffix", "has_wildcard", "is_allowed", "is_dns_name", "matches", "warm", "wildcard_is_alone"]

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
"""Letters, digits, hyphens within; underscores are written in practice, and RFC 5280 does not forbid them."""

_MAX_NAME_CHARACTERS = 253
_ADDRESS = re.compile(r"[0-9.]+|.*:.*")


def is_dns_name(name: str) -> bool:
    """Whether the text could be a host's name, wildcard or not."""
    labels = name.removeprefix("*.").split(".")
    is_long = len(name) > _MAX_NAME_CHARACTERS
    return not is_long and not _ADDRESS.fullmatch(name) and all(_LABEL.fullmatch(label) for label in labels)


def has_wildcard(name: str) -> bool:
    """Whether there is a `*` anywhere."""
    return "*" in name


def wildcard_is_alone(name: str) -> bool:
    """Whether the only `*` is the whole of the first label."""
    return name.startswith("*.") and "*" not in name[2:]


def matches(presented: str, asked: str) -> bool:
    """Whether a name from a certificate is the one asked for; a wildcard stands for exactly one label."""
    presented, asked = presented.lower(), asked.lower().removesuffix(".")
    if not has_wildcard(presented):
        return presented == asked
    first, _, rest = asked.partition(".")
    return wildcard_is_alone(presented) and bool(first) and rest == presented[2:] and "." in rest


def is_allowed(name: str, pattern: str) -> bool:
    """Whether a name is within a pattern of the operator; a wildcard name only within that same wildcard."""
    return name.lower() == pattern.lower() if has_wildcard(name) else matches(pattern, name)


def covers_public_suffix(name: str) -> bool:
    """Whether a wildcard stands directly before a public suffix: `*.co.uk` speaks for strangers."""
    return wildcard_is_alone(name) and _suffixes().is_public(name[2:].lower())


def warm() -> None:
    """Read the list of public suffixes, which takes 100 ms once; a child that may open nothing cannot."""
    _suffixes()


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()
