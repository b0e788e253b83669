"""Versions, specifiers and requirements as Python's standards write them (PEP 440, PEP 508).

The common forms are recognised here; `packaging` judges the rest, and is imported only then: it costs as much CPU as
everything else that reads a manifest.
"""

from __future__ import annotations

import re

__all__ = ["DEFAULT_API", "HOST_PROTOCOL", "judge_api", "judge_requirement", "judge_specifier", "normalised"]

HOST_PROTOCOL = "1.0"
"""The protocol version of `isolation.protocol`, written down again to keep its imports off the way to a lint."""

DEFAULT_API = ">=1.0,<2"

_CLAUSE = r"(?:~=|==|!=|<=|>=|<|>)\s*[0-9]+(?:\.[0-9]+)*(?:\.\*)?"
_CLAUSES = rf"{_CLAUSE}(?:\s*,\s*{_CLAUSE})*"
_SPECIFIER = re.compile(rf"\s*{_CLAUSES}\s*")
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_REQUIREMENT = re.compile(rf"{_NAME}\s*(?:\[\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\])?\s*(?:{_CLAUSES})?\s*")


def judge_specifier(text: str) -> None:
    """Refuse what is no version specifier with ValueError."""
    if _SPECIFIER.fullmatch(text) is not None:
        return
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError(f"'{text}' is not a version specifier like '>=3.11,<4'") from None


def judge_api(text: str) -> None:
    """Refuse versions of the protocol that this host does not speak with ValueError."""
    judge_specifier(text)
    if text == DEFAULT_API:
        return
    from packaging.specifiers import SpecifierSet

    if not SpecifierSet(text).contains(HOST_PROTOCOL):
        raise ValueError(f"the plugin speaks protocol {text}, this host speaks {HOST_PROTOCOL}")


def judge_requirement(text: str) -> None:
    """Refuse what is no requirement with ValueError."""
    if _REQUIREMENT.fullmatch(text) is not None:
        return
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"{text!r} is not a requirement: {str(error).splitlines()[0]}") from None


def normalised(name: str) -> str:
    """Write a name as PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()
