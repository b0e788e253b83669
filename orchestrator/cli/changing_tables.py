"""What came of the commands that change what a host serves, or say what was changed, for the eye.

It reads answers of a host; a member that is not there is not shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.env import age
from orchestrator.cli.failures import printable
from orchestrator.cli.plan_tables import change_view
from orchestrator.cli.records import members, number, text
from orchestrator.cli.status_tables import canary_words, told_at
from orchestrator.cli.tables import plain_table

__all__ = ["VIEWS", "history_table"]

Record = Mapping[str, object]

_BAD = ("refused", "aborted")
_SIGNS = {"+": "green", "-": "red", "@": "cyan"}

_CAME_TO = {
    "unchanged": "nothing to do: revision {} is that already",
    "applied": "revision {} serves",
    "canary": "revision {} is on trial; `penstock canary` gives it more calls, all, or none",
    "aborted": "the trial is over, revision {} serves",
}

_WOULD_COME_TO = {
    "unchanged": "nothing differs from revision {}",
    "aborted": "nothing differs from revision {}; applied, it serves all calls, and the trial is over",
}


def _planned(found: Record) -> RenderableType:
    nothing = _WOULD_COME_TO.get(text(found, "outcome"), _WOULD_COME_TO["unchanged"])
    return change_view(members(found, "change"), nothing.replace("{}", text(found, "revision")))


def _applied(found: Record) -> RenderableType:
    """What serves now, and what is different in it."""
    outcome = text(found, "outcome")
    said = Text(printable(_CAME_TO.get(outcome, outcome).replace("{}", text(found, "revision"))))
    change = members(found, "change")
    return said if change.get("empty") else Group(said, Text(), change_view(change))


def _compared(found: Record) -> RenderableType:
    """What was noted of a revision, and how its files differ."""
    change, lines = members(found, "change"), list(_diff(found))
    parts: list[RenderableType] = [change_view(change)] if change else []
    parts += [Text()] * bool(parts and lines)
    return Group(*parts, *lines) if parts or lines else Text("the files are the same")


def _diff(found: Record) -> Iterator[Text]:
    files = found.get("files")
    for line in map(str, files) if isinstance(files, list) else ():
        style = "bold" if line.startswith(("---", "+++")) else _SIGNS.get(line[:1], "")
        yield Text(printable(line), style=style, no_wrap=True, overflow="ignore")
    left_out = int(number(found, "lines_left_out"))
    if left_out:
        yield Text(f"and {left_out} lines more", style="dim")


def _freezing(found: Record) -> RenderableType:
    if not found.get("frozen"):
        return Text("the watcher applies what is saved")
    reason = text(found, "reason")
    words = f"frozen by {text(found, 'by')}: the watcher applies nothing" + (f" ({reason})" if reason else "")
    return Text(printable(words))


def _trial(found: Record) -> RenderableType:
    words = canary_words(found) if "percent" in found else f"revision {text(found, 'revision')} serves all calls"
    return Text(printable(words))


VIEWS: Mapping[str, Callable[[Record], RenderableType]] = {
    "plan": _planned,
    "apply": _applied,
    "rollback": _applied,
    "diff": _compared,
    "freeze": _freezing,
    "thaw": _freezing,
    "canary.set": _trial,
    "canary.promote": _trial,
    "canary.abort": _trial,
}
"""By command, what its answer looks like."""


def history_table(entries: Sequence[object]) -> Table:
    """An entry a line, in the order in which they come."""
    table = plain_table()
    for name in ("revision", "when", "by", "outcome", "commit"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="fold")
    now = time.time()
    for entry in entries:
        if isinstance(entry, Mapping):
            outcome = text(entry, "outcome")
            table.add_row(
                text(entry, "number") if entry.get("number") else "-",
                age(number(entry, "at"), now),
                Text(printable(text(entry, "by"))),
                Text(printable(outcome), style="bold red" if outcome in _BAD else ""),
                Text(printable(text(entry, "commit"))),
                Text(printable(_why(entry))),
            )
    return table


def _why(entry: Record) -> str:
    return told_at(entry) or (f"revision {text(entry, 'of')} again" if entry.get("of") else "")
