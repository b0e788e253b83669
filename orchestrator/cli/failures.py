"""The one place where an exception becomes a message and an exit status. Imports nothing but click until it must."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pipelines.problem import Problem

__all__ = [
    "SYSTEM",
    "Exit",
    "Invocation",
    "Terminated",
    "printable",
    "problem_record",
    "report",
    "say",
    "show_problems",
    "write",
]


SYSTEM = "penstock.system"
"""The code of what the operating system refuses."""

MISTAKES = "penstock.lint"
"""The code with which a host refuses files; here such a refusal ends as lint does."""

BUG = "penstock.bug"
"""The code of what should not have happened."""


class Exit(enum.IntEnum):
    """What the process ends with."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 78
    """EX_CONFIG of sysexits.h."""
    INTERRUPTED = 130
    """128 + SIGINT, as shells say it."""
    PIPE_CLOSED = 141
    """128 + SIGPIPE: whoever read our output went away."""
    TERMINATED = 143
    """128 + SIGTERM."""


@dataclass(slots=True)
class Invocation:
    """How this run of the command was asked to speak. Filled while its options are read."""

    json: bool = False
    traceback: bool = False


class Terminated(BaseException):
    """SIGTERM arrived and everything was stopped."""


def say(text: str, *, tone: str | None = None, label: str = "") -> None:
    """Write one line to stderr, its label coloured on a terminal."""
    head = click.style(f"{label}: ", fg=tone, bold=True) if label else ""
    click.echo(head + printable(text), err=True, color=_colour())


def printable(text: str) -> str:
    """The text with its control characters shown instead of sent: what a plugin says must not steer a terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def write(text: str) -> None:
    """Write one line of data to stdout; colours stay on a terminal only."""
    click.echo(text, color=_colour())


def _colour() -> bool | None:
    return False if os.environ.get("NO_COLOR") else None


def report(error: BaseException, invocation: Invocation) -> Exit:
    """Tell the user about `error` and return the exit status it stands for."""
    try:
        return _report(error, invocation)
    except BrokenPipeError:
        return _pipe_closed()


def _report(error: BaseException, invocation: Invocation) -> Exit:
    if isinstance(error, BaseExceptionGroup):
        return max(_report(each, invocation) for each in error.exceptions)
    if isinstance(error, click.exceptions.Exit):
        return Exit(error.exit_code)
    if isinstance(error, BrokenPipeError):
        return _pipe_closed()
    if isinstance(error, KeyboardInterrupt | click.Abort):
        say("interrupted")
        return Exit.INTERRUPTED
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, Terminated):
        say("terminated")
        return Exit.TERMINATED
    return _ours(error, invocation)


def _pipe_closed() -> Exit:
    _close_stdout()
    return Exit.PIPE_CLOSED


def _close_stdout() -> None:
    # The interpreter flushes stdout once more while it ends; give it a place that takes everything.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: click.ClickException) -> Exit:
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        click.echo(context.get_usage(), err=True)
    say(error.format_message(), tone="red", label="error")
    if context is not None and context.command.get_help_option(context) is not None:
        click.echo(f"Try '{context.command_path} --help' for help.", err=True)
    return Exit.USAGE if isinstance(error, click.UsageError | click.BadParameter) else Exit.FAILED


def _ours(error: BaseException, invocation: Invocation) -> Exit:
    from isolation.errors import ManifestError
    from pipelines.problem import SpecError

    if invocation.traceback:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, SpecError):
        show_problems(error.problems, as_json=invocation.json)
        return Exit.CONFIGURATION
    if isinstance(error, ManifestError):
        show_problems(_manifest_problems(error), as_json=invocation.json)
        return Exit.CONFIGURATION
    code, message, hint = getattr(error, "code", None), str(error), str(getattr(error, "hint", ""))
    if not isinstance(code, str) or not code.startswith("penstock."):
        code, hint = SYSTEM, ""
        if not isinstance(error, OSError) or not error.strerror:
            return _bug(error, invocation)
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    say(f"{message} [{code}]" if "\n" not in message else f"[{code}] {message}", tone="red", label="error")
    if hint:
        say(hint, tone="cyan", label="hint")
    _tell_machines(code, message, hint, invocation)
    return Exit.CONFIGURATION if code == MISTAKES else Exit.FAILED


def _bug(error: BaseException, invocation: Invocation) -> Exit:
    text = f"unexpected {type(error).__name__}: {error}".splitlines()[0]
    say(f"{text} (a bug; `penstock --traceback ...` shows where)", tone="red", label="error")
    _tell_machines(BUG, text, "", invocation)
    return Exit.FAILED


def _tell_machines(code: str, message: str, hint: str, invocation: Invocation) -> None:
    """With --json what went wrong is data, too: one object on a line."""
    if invocation.json:
        import json

        try:
            click.echo(json.dumps({"error": {"code": code, "message": message, "hint": hint}}))
        except OSError:  # it may be stdout itself that went wrong
            _close_stdout()


def _manifest_problems(error: Exception) -> list[Problem]:
    from isolation.errors import ManifestError
    from pipelines.problem import Mark, Problem

    assert isinstance(error, ManifestError)
    return [
        Problem(Mark(p.file, p.line, p.column), "manifest", p.path, p.message, p.suggestion) for p in error.problems
    ]


def show_problems(problems: Iterable[Problem], *, as_json: bool) -> None:
    """Write each problem as a line on stderr, or all of them as one JSON list on stdout."""
    if as_json:
        import json

        click.echo(json.dumps([problem_record(problem) for problem in problems], indent=2))
        return
    for problem in problems:
        click.echo(_problem_line(problem), err=True, color=_colour())


def _problem_line(problem: Problem) -> str:
    """FILE:LINE:COLUMN: CODE path: message, the first two standing out on a terminal."""
    from pipelines.problem import Severity

    warning = problem.severity is Severity.WARNING
    place, text = str(problem.mark), printable(str(problem)).removeprefix(f"{problem.mark}: ")
    code, _, rest = text.partition(" ")
    tail = " (warning)" if warning else ""
    return f"{click.style(place, bold=True)}: {click.style(code, fg='yellow' if warning else 'red')} {rest}{tail}"


def problem_record(problem: Problem) -> dict[str, object]:
    """A problem as the JSON object that every command shows it as."""
    return {
        "file": problem.mark.file,
        "line": problem.mark.line,
        "column": problem.mark.column,
        "severity": problem.severity.value,
        "code": problem.code,
        "path": problem.path,
        "message": problem.message,
        "suggestion": problem.suggestion,
    }
