"""Names that an operator chooses: of plugins, stages, timeouts, profiles. CEL must be able to say them."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["NAME", "RESERVED", "name_problem", "nearest_name"]

NAME: Final = r"[a-z][a-z0-9_]*"

RESERVED: Final = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    ]
)
"""Words that cannot be an identifier in CEL (its specification, section Syntax)."""


def name_problem(name: str) -> str | None:
    """Why `name` cannot be one, or None."""
    if re.fullmatch(NAME, name) is None:
        return f"{name!r} is not a name: small letters, digits and `_`, a letter first"
    if name in RESERVED:
        return f"{name!r} is a word of CEL and cannot be a name"
    return None


def nearest_name(name: str) -> str | None:
    """The name most like `name` that would be allowed."""
    folded = re.sub(r"[^a-z0-9_]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).casefold()).strip("_")
    return folded if name_problem(folded) is None else None
