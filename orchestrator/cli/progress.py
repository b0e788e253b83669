"""Progress on stderr while plugins start and lines run. Off a terminal it is silent and imports nothing."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from orchestrator.cli.failures import printable, say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from isolation.store.events import BuildEvent
    from orchestrator.orchestrator import StartEvent

__all__ = ["Bars", "terminal_watches"]

LINES_PER_UPDATE = 16
"""Moving the bar takes longer than answering a call; not every line needs to show."""


def terminal_watches(*, stdout_is_data: bool) -> bool:
    """Whether bars are welcome: somebody watches stderr, and stdout does not write onto the same screen."""
    return sys.stderr.isatty() and not (stdout_is_data and sys.stdout.isatty())


_PHASES = {
    "interpreter": "looking for an interpreter",
    "lock": "locking:",
    "waiting": "waiting:",
    "resolve": "",
    "environment": "making its environment",
    "install": "installing",
    "start": "starting",
}
"""The phases worth showing, in words; the others are over before anybody reads them."""

_LONG = frozenset({"lock", "waiting", "environment"})


class Bars:
    """A bar for each plugin that starts, then one for the lines. They vanish when done."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._progress: Progress | None = None
        self._rows: dict[str, TaskID] = {}
        # Environments are built in threads, each of which tells how far it is.
        self._lock = threading.Lock()

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def started(self, event: StartEvent | BuildEvent) -> None:
        """Show where the start of one plugin stands; off a terminal, only what takes long or needs to be known."""
        words = _PHASES.get(event.phase)
        if event.phase == "source":
            self.note(f"{event.plugin}: {event.detail}", tone="yellow", label="warning")
        elif words is None:
            self._drop(event.plugin)
        elif self._shown:
            self._move(event.plugin, f"{words} {event.detail}".strip(), event.fraction, total=1.0)
        elif event.phase in _LONG:
            self.note(f"{event.plugin}: {words} {event.detail}".strip())

    def lines(self, number: int, position: int, size: int | None) -> None:
        """Show how many lines are done, and how far in the input that is."""
        if self._shown and number % LINES_PER_UPDATE == 0:
            self._move("lines", f"{number}", position if size else None, total=float(size or 0) or None)

    def note(self, text: str, *, tone: str | None = None, label: str = "") -> None:
        """Write a line to stderr without tearing the bars."""
        with self._lock:
            if self._progress is None:
                say(text, tone=tone, label=label)
                return
            from rich.text import Text

            head = Text(f"{label}: ", style=f"bold {tone}" if tone else "") if label else Text()
            self._progress.console.print(head.append_text(Text(printable(text))), soft_wrap=True)

    def clear(self) -> None:
        """Take every bar off the screen."""
        with self._lock:
            if self._progress is not None:
                self._progress.stop()
            self._progress = None
            self._rows.clear()

    def _drop(self, row: str) -> None:
        with self._lock:
            known = self._rows.pop(row, None)
            if self._progress is not None and known is not None:
                self._progress.remove_task(known)

    def _move(self, row: str, text: str, completed: float | None, total: float | None) -> None:
        with self._lock:
            progress = self._progress = self._progress or _begun()
            if row not in self._rows:
                self._rows[row] = progress.add_task(row, total=total, said="")
            progress.update(
                self._rows[row],
                completed=completed,
                total=total if completed is not None else None,
                said=text,
            )


def _begun() -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    from orchestrator.cli.terminal import error_console

    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[said]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=error_console(), transient=True)
    progress.start()
    return progress
