"""Why a change was not made: one value for whatever went wrong, with its place and what to do about it."""

from __future__ import annotations

from isolation.errors import EnvironmentBuildError, IsolationError
from orchestrator.secrets import SecretError
from pipelines.file.overriding import LAYER
from pipelines.problem import Severity, SpecError

__all__ = ["NOT_KEPT_HINT", "ChangeNotMade", "refusal_of"]

CHANGE_LINES = 20
"""More mistakes at once than anybody reads; `penstock lint` has them all."""

NOT_KEPT_HINT = "make room on the disk of the state folder, or let it be written, and try again"


class ChangeNotMade(Exception):
    """A change was refused; everything is as it was. `where` is file:line:column, a plugin's name, or ""."""

    def __init__(self, code: str, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.where = where
        self.hint = hint


def refusal_of(error: Exception) -> ChangeNotMade:
    """The same in the words of a change."""
    if isinstance(error, ChangeNotMade):
        return error
    if isinstance(error, SpecError):
        mistakes = [problem for problem in error.problems if problem.severity is Severity.ERROR]
        where = str(mistakes[0].mark)
        said = "\n".join(map(str, mistakes[:CHANGE_LINES]))
        if all(problem.path == LAYER for problem in mistakes):
            hint = "`penstock graph` shows the stages of a file"
            return ChangeNotMade("penstock.unknown_stage", said, where=where, hint=hint)
        return ChangeNotMade("penstock.lint", said, where=where, hint="`penstock lint` names every mistake")
    hint = getattr(error, "hint", "")
    if isinstance(error, SecretError):
        return ChangeNotMade(error.code, str(error), where=str(error.problems[0].place), hint=hint)
    if isinstance(error, EnvironmentBuildError):
        return ChangeNotMade(error.code, str(error), where=error.plugin, hint=hint)
    if isinstance(error, IsolationError):
        return ChangeNotMade(error.code, str(error), where=str(error).split(":", 1)[0], hint=hint)
    if isinstance(error, OSError):
        where = str(error.filename or "")
        said = f"its plan cannot be kept: {f'{where}: ' if where else ''}{error.strerror or error}"
        return ChangeNotMade("penstock.not_kept", said, where=where, hint=NOT_KEPT_HINT)
    return ChangeNotMade(getattr(error, "code", "penstock.change"), str(error), hint=hint)
