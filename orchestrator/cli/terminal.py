"""Rich consoles for stdout and stderr. Imported only by what draws: rich costs as much CPU as a whole short command."""

from __future__ import annotations

import os
import sys

from rich.console import Console

__all__ = ["console", "error_console"]

PIPE_WIDTH = 200
"""Off a terminal nothing needs to fit; a table takes what its cells need and no cell is cut."""


def console() -> Console:
    """A console on stdout: plain text off a terminal, no escape codes under NO_COLOR."""
    return _console(stderr=False)


def error_console() -> Console:
    """A console on stderr."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    if not stream.isatty():
        return Console(file=stream, color_system=None, width=PIPE_WIDTH, highlight=False, emoji=False)
    if os.environ.get("NO_COLOR"):
        return Console(file=stream, color_system=None, highlight=False, emoji=False)
    return Console(file=stream, highlight=False, emoji=False)
