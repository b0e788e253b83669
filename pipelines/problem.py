"""What is wrong with a document and where: the one value every check reports in. Nothing is decided here."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

__all__ = ["Mark", "Problem", "Severity", "SpecError"]


class Severity(enum.Enum):
    """An error refuses the document, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


class Mark(NamedTuple):
    """A place in a text; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(NamedTuple):
    """One mistake. `code` is a word of `pipelines.codes.CODES`; `path` is like `pipelines.guard.stages.pii.timeout`."""

    mark: Mark
    code: str
    path: str
    message: str
    suggestion: str | None = None
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        text = f"{self.mark}: {self.code} {self.path or '(file)'}: {self.message}"
        return text if self.suggestion is None else f"{text}; did you mean {self.suggestion!r}?"


class SpecError(Exception):
    """The operator's document is wrong; `problems` has every mistake, in the order of the text."""

    code: ClassVar[str] = "penstock.spec"
    hint: ClassVar[str] = "correct the places named above; `penstock explain PATH` says what may stand there"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems), key=lambda p: (p.mark, p.code, p.path, p.message)))
        super().__init__("\n".join(str(problem) for problem in self.problems))
