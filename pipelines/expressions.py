"""Expressions of a pipeline file: checked against the names they may use, then evaluated on plain values.

Google's CEL does the language. This file owns what is asked of it and what comes back; it reads no document.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pipelines.fields import Field

__all__ = ["Expect", "Expression", "ExpressionError", "ExpressionFailed", "Scope", "compile_expression"]


class Expect(enum.Enum):
    """What an expression has to yield."""

    BOOL = "bool"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Scope:
    """The names an expression may use: the fields of each root.

    `absent` are payload fields that only other hooks of the same pipeline have: they type-check, read as the zero
    value of their kind, and `has()` of them is false.
    """

    roots: Mapping[str, tuple[Field, ...]]
    absent: tuple[Field, ...] = ()


class ExpressionError(Exception):
    """The operator's expression is wrong at `offset` (characters from 0); `code` is a word of the problem table."""

    hint: ClassVar[str] = "docs/expressions.md names what an expression may use"

    def __init__(self, offset: int, code: str, message: str, suggestion: str | None = None) -> None:
        self.offset, self.code, self.message, self.suggestion = offset, code, message, suggestion
        super().__init__(message)


class ExpressionFailed(Exception):
    """An evaluation has no usable value: a name is absent, of another kind, or the result is not what was asked."""

    code: ClassVar[str] = "penstock.expression"
    hint: ClassVar[str] = "guard optional fields with has(), and see docs/expressions.md"


class Expression:
    """A checked expression. `references` are the paths it reads, from their root."""

    __slots__ = ("_source", "references", "text")

    def __init__(self, text: str, references: frozenset[tuple[str, ...]]) -> None:
        self.text, self.references = text, references

    def evaluate(self, roots: Mapping[str, object]) -> object:
        """Return the value over `roots`; raises ExpressionFailed and nothing else."""
        raise ExpressionFailed("not evaluated")


def compile_expression(text: str, scope: Scope, expect: Expect) -> Expression:
    """Check `text` against `scope`; raises ExpressionError."""
    return Expression(text, frozenset())
