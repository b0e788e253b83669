"""`penstock breakers`: how the breakers of a host stand; forcing one open, and resetting it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.failures import Exit, printable, say
from orchestrator.cli.options import here_argument, json_option, state_option

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["breakers"]

_STATES = {"closed": "green", "half-open": "yellow", "open": "bold red"}


@click.command(short_help="Show, force open and reset circuit breakers.")
@here_argument
@click.option("--open", "opened", metavar="NAME", help="Force breakers open, until they are reset.")
@click.option("--reset", metavar="NAME", help="Close breakers and forget what they counted.")
@click.option("--reason", metavar="TEXT", help="Why one is forced open; it stands in every refusal.")
@state_option
@json_option("Print the breakers as one JSON list.")
def breakers(
    path: Path, opened: str | None, reset: str | None, reason: str | None, state: Path | None, as_json: bool
) -> Exit:
    """Show the breakers of the host that serves PATH. NAME is PLUGIN/STAGE, PLUGIN, or a breaker's whole name."""
    from orchestrator.cli.commanding import command

    if opened and reset:
        raise click.UsageError("--open and --reset are two commands")
    if reason and not opened:
        raise click.UsageError("--reason says why one is forced open: it goes with --open")
    params: dict[str, object] = {}
    name = "breakers.list"
    if opened:
        name, params = "breakers.open", {"name": opened, **({"reason": reason} if reason else {})}
    elif reset:
        name, params = "breakers.reset", {"name": reset}
    found = command(path, state, name, params, as_json=as_json)
    assert isinstance(found, list)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        from orchestrator.cli.terminal import console

        console().print(_table(found))
    else:
        say("no stage of the file has a breaker")
    return Exit.FINE


def _table(found: Sequence[Mapping[str, object]]) -> Table:
    from rich.text import Text

    from orchestrator.cli.tables import plain_table

    table = plain_table()
    for name in ("breaker", "policy", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("calls", "failed", "rate", "probes out", "tries again in"):
        table.add_column(name, justify="right", no_wrap=True)
    for view in found:
        state = str(view["state"])
        forced = f" (forced: {view['reason']})" if view["forced"] else ""
        retry = view["retry_seconds"]
        table.add_row(
            Text(f"{view['plugin']}/{view['stage']}"),
            Text(str(view["policy"])),
            Text(printable(state + forced), style=_STATES.get(state, "")),
            str(view["calls"]),
            str(view["failures"]),
            f"{float(str(view['failure_rate'])):.0%}",
            str(view["probes_out"]),
            "" if retry is None else f"{float(str(retry)):.1f} s",
        )
    return table
