"""What goes wrong with expressions: in the text, before anything runs, or in one evaluation. It decides nothing."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["ExpressionError", "ExpressionFailed"]


class ExpressionError(Exception):
    """The operator's expression is wrong at `offset` (characters from 0); `others` are its further mistakes.

    `code` is `expression-syntax`, `-name`, `-type`, `-regex` or `-limit`, as in `pipelines.codes.CODES`.
    """

    hint: ClassVar[str] = "docs/expressions.md says what an expression may use"

    def __init__(self, offset: int, code: str, message: str, suggestion: str | None = None) -> None:
        self.offset, self.code, self.message, self.suggestion = offset, code, message, suggestion
        self.others: tuple[ExpressionError, ...] = ()
        super().__init__(message)


class ExpressionFailed(Exception):
    """An evaluation has no usable value: a name is absent, is of another kind, or CEL itself gave up."""

    code: ClassVar[str] = "penstock.expression"
    hint: ClassVar[str] = "guard what may be absent with has(); docs/expressions.md says how"
