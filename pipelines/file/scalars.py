"""What a plain (unquoted) YAML scalar means: the 1.2 core schema, without its traps.

`on`, `no`, `1:30`, `017` and `2026-01-01` are text; `1e3` is a number. Python's own YAML types are not asked.
"""

from __future__ import annotations

import math
import re

from pipelines.file.tree import Scalar

__all__ = ["BadNumber", "resolve"]

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_BASES = {"0o": 8, "0x": 16}
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
# One expression for both: compiling them is what costs. The first group is the point or the exponent of a float.
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)((?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)|(\.[0-9]+(?:[eE][-+]?[0-9]+)?))")
_ENDLESS = frozenset(
    [*(sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")), ".nan", ".NaN", ".NAN"]
)

# JSON readers elsewhere give up long before; Python itself refuses to parse more than 4300.
_MAX_DIGITS = 300


class BadNumber(ValueError):
    """The scalar is a number that JSON cannot carry."""


def resolve(text: str) -> Scalar:
    """Give the value of a plain scalar; raise BadNumber for `.inf`, `.nan` and numbers without bounds."""
    if text in _WORDS:
        return _WORDS[text]
    if not (text[0].isdigit() or text[0] in "+-."):
        return text
    if text in _ENDLESS:
        raise BadNumber(f"{text} is no number that JSON can carry")
    if _BASED.fullmatch(text):
        return int(_short(text)[2:], _BASES[text[:2]])
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    return _finite(text) if number[1] or number[2] else int(_short(text))


def _short(text: str) -> str:
    if len(text) > _MAX_DIGITS:
        raise BadNumber(f"a number of {len(text)} digits is too long")
    return text


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise BadNumber(f"{text} is larger than any number that JSON can carry")
    return value
