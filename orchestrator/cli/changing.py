"""`penstock plan`, `apply`, `rollback`, `history`, `diff`, `freeze`, `thaw` and `canary`: what a host serves, changed.

Each carries one command to the host, and shows what comes of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from orchestrator.cli.completing import revisions
from orchestrator.cli.failures import Exit, say
from orchestrator.cli.options import EXISTING, here_argument, json_option, state_option

__all__ = ["apply", "canary", "diff", "freeze", "history", "plan", "rollback", "thaw"]

_Decorated = TypeVar("_Decorated", bound=Callable[..., object])

_JSON = "Print it as JSON."
_REASON = click.option("--reason", metavar="TEXT", default="", help="Why; others read it.")


def _here(function: _Decorated) -> _Decorated:
    for decorate in (json_option(_JSON), state_option, here_argument):
        function = decorate(function)
    return function


@click.command(short_help="Say what applying the files would change.")
@_here
def plan(path: Path, state: Path | None, as_json: bool) -> Exit:
    """Say what `apply` would change on the host that serves PATH, and change nothing."""
    return _perform(path, state, "plan", {}, as_json=as_json)


@click.command(short_help="Put the files as they are now into service.")
@_here
def apply(path: Path, state: Path | None, as_json: bool) -> Exit:
    """Put the files of PATH, as they are now, into service on its host. Refused, everything stays as it was."""
    return _perform(path, state, "apply", {}, as_json=as_json)


@click.command(short_help="Put an earlier revision into service again.")
@click.option(
    "--to",
    metavar="N",
    type=click.IntRange(1),
    shell_complete=revisions,
    help="This revision; otherwise the one before, or the end of a trial.",
)
@_here
def rollback(path: Path, to: int | None, state: Path | None, as_json: bool) -> Exit:
    """Put an earlier revision into service again on the host that serves PATH."""
    return _perform(path, state, "rollback", {"to": to}, as_json=as_json)


@click.command(short_help="List what was changed, when and by whom.")
@click.option("--limit", metavar="N", type=click.IntRange(1), default=50, show_default=True, help="How many.")
@_here
def history(path: Path, limit: int, state: Path | None, as_json: bool) -> Exit:
    """List the changes of the host that serves PATH, the newest first, the refused ones too."""
    return _perform(path, state, "history", {"limit": limit}, as_json=as_json)


@click.command(short_help="Show what a revision changed.")
@click.argument("number", metavar="N", type=click.IntRange(1), shell_complete=revisions)
@click.argument("path", metavar="[PATH]", type=EXISTING, default=Path())
@click.option(
    "--from",
    "other",
    metavar="N",
    type=click.IntRange(1),
    shell_complete=revisions,
    help="Compare with this revision; otherwise with the one that served before.",
)
@state_option
@json_option(_JSON)
def diff(number: int, path: Path, other: int | None, state: Path | None, as_json: bool) -> Exit:
    """Show what revision N of the host that serves PATH changed, with the lines of its files and its plugins."""
    return _perform(path, state, "diff", {"number": number, "other": other}, as_json=as_json)


@click.command(short_help="Let the watcher apply nothing.")
@_REASON
@_here
def freeze(path: Path, reason: str, state: Path | None, as_json: bool) -> Exit:
    """Let the host that serves PATH apply no change of the files by itself. `apply` by hand still does."""
    return _perform(path, state, "freeze", {"reason": reason}, as_json=as_json)


@click.command(short_help="Let the watcher apply changes again.")
@_here
def thaw(path: Path, state: Path | None, as_json: bool) -> Exit:
    """Let the host that serves PATH apply changes of the files by itself again."""
    return _perform(path, state, "thaw", {}, as_json=as_json)


@click.group(short_help="Give a revision on trial more calls, all, or none.")
def canary() -> None:
    """The revision on trial of a host."""


@canary.command("set")
@click.argument("percent", metavar="PERCENT", type=click.FloatRange(0, 100))
@_here
def set_percent(percent: float, path: Path, state: Path | None, as_json: bool) -> Exit:
    """Give PERCENT of the calls to the revision on trial."""
    if math.isnan(percent):  # it is beyond no bound
        raise click.BadParameter("it is no number", param_hint="PERCENT")
    return _perform(path, state, "canary.set", {"percent": percent}, as_json=as_json)


@canary.command()
@_here
def promote(path: Path, state: Path | None, as_json: bool) -> Exit:
    """Give all calls to the revision on trial."""
    return _perform(path, state, "canary.promote", {}, as_json=as_json)


@canary.command()
@_REASON
@_here
def abort(path: Path, reason: str, state: Path | None, as_json: bool) -> Exit:
    """Give no more calls to the revision on trial."""
    return _perform(path, state, "canary.abort", {"reason": reason}, as_json=as_json)


def _perform(path: Path, state: Path | None, name: str, params: Mapping[str, object], *, as_json: bool) -> Exit:
    """Carry a command to the host, and print what it answers: as it is, or as it looks to the eye."""
    from orchestrator.cli.commanding import command

    found = command(path, state, name, params, as_json=as_json)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return Exit.FINE
    if found == []:
        say("nothing was changed yet")
        return Exit.FINE
    from orchestrator.cli.changing_tables import VIEWS, history_table
    from orchestrator.cli.terminal import console

    view = VIEWS[name](found) if isinstance(found, Mapping) else history_table(found)
    console().print(view, crop=False)  # a line of a diff is whole
    return Exit.FINE
