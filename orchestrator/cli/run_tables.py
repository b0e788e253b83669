"""Runs for the eye: the list, and one run with everything that is left to do by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.env import age
from orchestrator.cli.failures import printable
from orchestrator.cli.records import Record, members, number, text
from orchestrator.cli.tables import milliseconds, plain_table

__all__ = ["run_view", "runs_table"]

_STATUS = {"completed": "green", "undone": "yellow", "parked": "bold red", "unreadable": "bold red"}
_VERDICT = {"allow": "green", "modify": "cyan", "deny": "red"}
_UNDO = {"done": "yellow", "parked": "bold red"}


def runs_table(records: Sequence[Record], now: float) -> Table:
    """The list of runs."""
    table = plain_table()
    for name in ("run", "pipeline", "verdict", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("began", "took"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for record in records:
        verdict, status = text(record, "verdict"), text(record, "status")
        table.add_row(
            Text(text(record, "run_id")),
            Text(text(record, "pipeline")),
            Text(verdict, style=_VERDICT.get(verdict, "")),
            Text(status, style=_STATUS.get(status, "dim")),
            age(number(record, "began"), now),
            milliseconds(number(record, "duration_ms")) if record.get("duration_ms") is not None else "",
            Text(printable(_why(record)), style="dim"),
        )
    return table


def run_view(record: Record, now: float) -> RenderableType:
    """One run whole."""
    verdict = text(record, "verdict")
    head = Text.assemble(
        (text(record, "run_id"), "bold"),
        f"  {text(record, 'pipeline')} on {text(record, 'hook')}  ",
        (verdict, _VERDICT.get(verdict, "")),
        ", " if verdict else "",
        (text(record, "status"), _STATUS.get(text(record, "status"), "")),
        f", began {age(number(record, 'began'), now)}",
    )
    parts: list[RenderableType] = [head]
    if _why(record):
        parts.append(Text(printable(_why(record))))
    if record.get("unread"):
        parts.append(Text(printable(text(record, "unread")), style="red"))
    if _entries(record, "stages"):
        parts.append(_stages(record))
    parts += [_by_hand(id, undo) for id, undo in _parked(record)]
    undos = record.get("undos")
    if isinstance(undos, list):
        parts += [Text(printable(f"undo of stage number {one['number']}: {_json(one['input'])}")) for one in undos]
    events = record.get("events")
    if isinstance(events, list):
        parts += [_told(event) for event in events if event.get("told")]
        words = " ".join(text(event, "kind") for event in events)
        parts.append(Text(f"journal: {len(events)} events: {words}", style="dim"))
    return Group(*parts)


def _told(event: Record) -> Text:
    """An event of a run that cannot be read as a whole."""
    return Text(printable(f"  {event['kind']}  {json.dumps(event['told'], ensure_ascii=False)}"))


def _stages(record: Record) -> Table:
    table = plain_table()
    for name in ("stage", "state", "effect", "undo"):
        table.add_column(name, no_wrap=True)
    table.add_column("attempts", justify="right", no_wrap=True)
    table.add_column("what went wrong", overflow="fold")
    for id, stage in _entries(record, "stages").items():
        undo = _inside(stage, "undo")
        state = text(undo, "state") if undo else ""
        error = _inside(undo, "error") or _inside(stage, "error") or _inside(stage, "violation")
        table.add_row(
            Text(id),
            Text(text(stage, "state")),
            Text(text(stage, "effect"), style="dim" if stage.get("effect") == "none" else ""),
            Text(state, style=_UNDO.get(state, "")),
            str(stage.get("attempts", "")),
            Text(printable(_noted(_said(error), stage))),
        )
    for id, final in _entries(record, "finally").items():
        said = _said(_inside(final, "error"))
        table.add_row(
            Text(f"finally {id}", style="dim"), Text(text(final, "state")), "", "", str(final["attempts"]), Text(said)
        )
    return table


def _by_hand(id: str, undo: Record) -> Text:
    """All that somebody needs who finishes an undo without us."""
    lines = [
        f"to undo {id} by hand: what {undo['plugin']}/{undo['stage']} would have done",
        f"  undoes  {undo['undoes']}",
        f"  key     {undo['key']}",
        f"  tried   {undo['attempts']} times; {_said(_inside(undo, 'error'))}",
    ]
    if "input" in undo:
        lines.append(f"  input   {_json(undo['input'])}")
    return Text(printable("\n".join(lines)), style="bold")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _parked(record: Record) -> list[tuple[str, Record]]:
    undos = ((id, _inside(stage, "undo")) for id, stage in _entries(record, "stages").items())
    return [(id, undo) for id, undo in undos if undo and undo.get("state") == "parked"]


def _why(record: Record) -> str:
    reason = text(record, "reason")
    said = _said(_inside(record, "violation")) or _said(_inside(record, "error"))
    return f"{reason}: {said}" if reason and said and reason not in said else said or reason


def _said(error: Record | None) -> str:
    if not error:
        return ""
    code, said = text(error, "code"), text(error, "message") or text(error, "reason")
    return f"{code}: {said.splitlines()[0]}" if said else code


def _noted(said: str, stage: Record) -> str:
    """What went wrong, and that the stage was not in the mode that the file gives it."""
    override = text(stage, "override")
    return "; ".join(part for part in (said, f"overridden: {override}" if override else "") if part)


def _entries(record: Record, name: str) -> Mapping[str, Record]:
    return {key: one for key, one in members(record, name).items() if isinstance(one, Mapping)}


def _inside(record: Record | None, name: str) -> Record | None:
    found = record.get(name) if record else None
    return found if isinstance(found, Mapping) else None
