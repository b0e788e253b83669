"""`penstock plan`, `apply`, `rollback`, `history`, `diff`, `freeze`, `thaw` and `canary`: what a host serves, changed.

Each carries one command to the host, and shows what comes of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from orchestrator.cli.failures import Exit, printable, say, write
from orchestrator.cli.options import EXISTING, here_argument, json_option, state_option

__all__ = ["apply", "canary", "diff", "freeze", "history", "plan", "rollback", "thaw"]

_Decorated = TypeVar("_Decorated", bound=Callable[..., object])

_JSON = "Print it as JSON."
_DIFF_TONES = {"+": "green", "-": "red", "@": "cyan"}
_REASON = click.option("--reason", metavar="TEXT", default="", help="Why; others read it.")


def _here(function: _Decorated) -> _Decorated:
    for decorate in (json_option(_JSON), state_option, here_argument):
        function = decorate(function)
    return function


@click.command(short_help="Say what applying the files would change.")
@_here
def plan(path: Path, state: Path | None, as_json: bool) -> Exit:
    """Say what `apply` would change on the host that serves PATH, and change nothing."""
    return _show(_asked(path, state, "plan", {}, as_json=as_json), as_json)


@click.command(short_help="Put the files as they are now into service.")
@_here
def apply(path: Path, state: Path | None, as_json: bool) -> Exit:
    """Put the files of PATH, as they are now, into service on its host. Refused, everything stays as it was."""
    return _show(_asked(path, state, "apply", {}, as_json=as_json), as_json)


@click.command(short_help="Put an earlier revision into service again.")
@click.option("--to", metavar="N", type=click.IntRange(1), help="This revision; otherwise the one before.")
@_here
def rollback(path: Path, to: int | None, state: Path | None, as_json: bool) -> Exit:
    """Put an earlier revision into service again on the host that serves PATH."""
    return _show(_asked(path, state, "rollback", {"to": to}, as_json=as_json), as_json)


@click.command(short_help="List what was changed, when and by whom.")
@click.option("--limit", metavar="N", type=click.IntRange(1), default=50, show_default=True, help="How many.")
@_here
def history(path: Path, limit: int, state: Path | None, as_json: bool) -> Exit:
    """List the changes of the host that serves PATH, the newest first, the refused ones too."""
    found = _asked(path, state, "history", {"limit": limit}, as_json=as_json)
    if as_json or not isinstance(found, list) or not found:
        return _show(found, as_json)
    from orchestrator.cli.terminal import console

    console().print(_table(found))
    return Exit.FINE


@click.command(short_help="Show what a revision changed.")
@click.argument("number", metavar="N", type=click.IntRange(1))
@click.argument("path", metavar="[PATH]", type=EXISTING, default=Path())
@click.option("--from", "other", metavar="N", type=click.IntRange(1), help="Compare with this revision.")
@state_option
@json_option(_JSON)
def diff(number: int, path: Path, other: int | None, state: Path | None, as_json: bool) -> Exit:
    """Show what revision N of the host that serves PATH changed, with the lines of its files."""
    return _show(_asked(path, state, "diff", {"number": number, "other": other}, as_json=as_json), as_json)


@click.command(short_help="Let the watcher apply nothing.")
@_REASON
@_here
def freeze(path: Path, reason: str, state: Path | None, as_json: bool) -> Exit:
    """Let the host that serves PATH apply no change of the files by itself. `apply` by hand still does."""
    return _show(_asked(path, state, "freeze", {"reason": reason}, as_json=as_json), as_json)


@click.command(short_help="Let the watcher apply changes again.")
@_here
def thaw(path: Path, state: Path | None, as_json: bool) -> Exit:
    """Let the host that serves PATH apply changes of the files by itself again."""
    return _show(_asked(path, state, "thaw", {}, as_json=as_json), as_json)


@click.group(short_help="Give a revision on trial more calls, all, or none.")
def canary() -> None:
    """The revision on trial of a host."""


@canary.command("set")
@click.argument("percent", metavar="PERCENT", type=click.FloatRange(0, 100))
@_here
def set_percent(percent: float, path: Path, state: Path | None, as_json: bool) -> Exit:
    """Give PERCENT of the calls to the revision on trial."""
    return _show(_asked(path, state, "canary.set", {"percent": percent}, as_json=as_json), as_json)


@canary.command()
@_here
def promote(path: Path, state: Path | None, as_json: bool) -> Exit:
    """Give all calls to the revision on trial."""
    return _show(_asked(path, state, "canary.promote", {}, as_json=as_json), as_json)


@canary.command()
@_REASON
@_here
def abort(path: Path, reason: str, state: Path | None, as_json: bool) -> Exit:
    """Give no more calls to the revision on trial."""
    return _show(_asked(path, state, "canary.abort", {"reason": reason}, as_json=as_json), as_json)


def _asked(path: Path, state: Path | None, name: str, params: Mapping[str, object], *, as_json: bool) -> object:
    from orchestrator.cli.commanding import command

    return command(path, state, name, params, as_json=as_json)


def _show(found: object, as_json: bool) -> Exit:
    """Print an answer: a change as a table, what is beside it in lines, empty members left out, files at the end."""
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return Exit.FINE
    members = dict(found) if isinstance(found, Mapping) else {}
    change, files = members.pop("change", None), members.pop("files", None)
    lines = list(_lines(members if isinstance(found, Mapping) else found, ""))
    for line in lines:
        write(printable(line))
    if isinstance(change, Mapping):
        from orchestrator.cli.plan_tables import change_view
        from orchestrator.cli.terminal import console

        console().print(change_view(change))
    elif not lines:
        say("nothing")
    for line in map(str, files if isinstance(files, list) else ()):
        write(click.style(printable(line), fg=_DIFF_TONES.get(line[:1])))
    return Exit.FINE


def _lines(value: object, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            if member in (None, "", [], {}):
                continue
            if isinstance(member, Mapping | list):
                yield f"{indent}{name}:"
                yield from _lines(member, indent + "  ")
            else:
                yield f"{indent}{name}: {_word(member)}"
    elif isinstance(value, list):
        for element in value:
            if isinstance(element, Mapping):
                first, *rest = [*_lines(element, "")] or [""]
                yield f"{indent}- {first}"
                yield from (f"{indent}  {line}" for line in rest)
            else:
                yield f"{indent}{_word(element)}"


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _table(entries: Sequence[object]) -> object:
    from rich.text import Text

    from orchestrator.cli.env import age
    from orchestrator.cli.status_tables import number, text
    from orchestrator.cli.tables import plain_table

    table = plain_table()
    for name in ("revision", "when", "by", "outcome", "commit"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="fold")
    now = time.time()
    for entry in entries:
        if isinstance(entry, Mapping):
            outcome, where = text(entry, "outcome"), text(entry, "where")
            why = ": ".join(part for part in (where, text(entry, "reason")) if part)
            table.add_row(
                text(entry, "number") if entry.get("number") else "-",
                age(number(entry, "at"), now),
                Text(printable(text(entry, "by"))),
                Text(outcome, style="bold red" if outcome in ("refused", "aborted") else ""),
                Text(text(entry, "commit")),
                Text(printable(why)),
            )
    return table
