"""`penstock runs`: what became of runs, and what only a human can decide about them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from orchestrator.cli.completing import pipelines, run_ids
from orchestrator.cli.failures import Exit, say, write
from orchestrator.cli.options import here_argument, json_option, state_option

__all__ = ["runs"]

_Decorated = TypeVar("_Decorated", bound=Callable[..., object])

STATUSES = ("running", "confirming", "completed", "undone", "parked", "unreadable")
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}

_ID = click.argument("id", metavar="ID", shell_complete=run_ids)
_REASON = click.option("--reason", metavar="TEXT", help="Why; kept with the run.")
_JSON = "Print the run as one JSON object."


def _on_one(function: _Decorated) -> _Decorated:
    for decorate in (json_option(_JSON), state_option, here_argument, _ID):
        function = decorate(function)
    return function


@click.group(short_help="List, show, undo and take up runs.")
def runs() -> None:
    """The runs of a pipeline file. ID is a run's id, or the end of it.

    Durable runs are in the journal until they are pruned; of the others a host remembers the newest 10,000, and longer
    those that were denied, failed or slow. Commands go to the host that serves the file, if one does.
    """


@runs.command("list")
@here_argument
@click.option("--status", type=click.Choice(STATUSES), help="Only runs that stand so.")
@click.option("--verdict", type=click.Choice(["allow", "modify", "deny"]), help="Only runs with this verdict.")
@click.option("--pipeline", metavar="NAME", shell_complete=pipelines, help="Only runs of this pipeline.")
@click.option("--limit", metavar="N", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@state_option
@json_option("Print the runs as one JSON list.")
def list_runs(
    path: Path,
    status: str | None,
    verdict: str | None,
    pipeline: str | None,
    limit: int,
    state: Path | None,
    as_json: bool,
) -> Exit:
    """List the newest runs."""
    asked = {"status": status, "verdict": verdict, "pipeline": pipeline, "limit": limit}
    found = _command(path, state, "runs.list", asked, as_json=as_json)
    assert isinstance(found, list)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        from orchestrator.cli.run_tables import runs_table
        from orchestrator.cli.terminal import console

        console().print(runs_table(found, time.time()))
    else:
        say("no such runs are known")
    return Exit.FINE


@runs.command()
@_on_one
def show(id: str, path: Path, state: Path | None, as_json: bool) -> Exit:
    """Show one run: its stages, what was undone, and what is left to do by hand."""
    return _show(_command(path, state, "runs.show", {"run": id}, as_json=as_json), as_json)


@runs.command()
@_on_one
def resume(id: str, path: Path, state: Path | None, as_json: bool) -> Exit:
    """Go on with a parked run: try its compensations again."""
    return _outcome(_command(path, state, "runs.resume", {"run": id}, as_json=as_json), as_json)


@runs.command()
@_REASON
@_on_one
def compensate(id: str, path: Path, reason: str | None, state: Path | None, as_json: bool) -> Exit:
    """Undo a run that was allowed, because what it was for did not happen after all."""
    params = {"run": id, **({"reason": reason} if reason else {})}
    return _outcome(_command(path, state, "runs.compensate", params, as_json=as_json), as_json)


@runs.command()
@_on_one
def confirm(id: str, path: Path, state: Path | None, as_json: bool) -> Exit:
    """Confirm what a run allowed, for pipelines with `confirm_within`."""
    found = _command(path, state, "runs.confirm", {"run": id}, as_json=as_json)
    _print(found, as_json, f"run {_member(found, 'run_id')} is confirmed")
    return Exit.FINE


@runs.command()
@_REASON
@_on_one
def park(id: str, path: Path, reason: str | None, state: Path | None, as_json: bool) -> Exit:
    """Stop trying to undo a run, or to take it up, and leave it to a human."""
    params = {"run": id, **({"reason": reason} if reason else {})}
    return _show(_command(path, state, "runs.park", params, as_json=as_json), as_json)


@runs.command()
@here_argument
@click.option("--older-than", metavar="AGE", help="Keep runs that ended less than this ago: 90m, 12h, 30d.")
@click.option("--keep", metavar="N", type=click.IntRange(0), help="Keep the newest N.")
@state_option
@json_option("Print what was removed as one JSON object.")
def prune(path: Path, older_than: str | None, keep: int | None, state: Path | None, as_json: bool) -> Exit:
    """Remove completed and undone runs from the journal. Running, confirming and parked ones always stay."""
    if older_than is None and keep is None:
        raise click.UsageError("say what to keep, with --older-than AGE, --keep N or both")
    before = None if older_than is None else time.time() - _seconds(older_than)
    found = _command(path, state, "runs.prune", {"before": before, "keep": keep}, as_json=as_json)
    _print(found, as_json, f"{_member(found, 'pruned')} runs removed")
    return Exit.FINE


@runs.command()
@here_argument
@state_option
@json_option("Print what was done as one JSON object.")
def rekey(path: Path, state: Path | None, as_json: bool) -> Exit:
    """Give the journal a new key: everything is encrypted anew, and the old key is dropped."""
    found = _command(path, state, "runs.rekey", {}, as_json=as_json)
    _print(found, as_json, f"{_member(found, 'encrypted_anew')} records encrypted with a new key")
    return Exit.FINE


def _command(path: Path, state: Path | None, name: str, params: Mapping[str, object], *, as_json: bool) -> object:
    from orchestrator.cli.commanding import command

    return command(path, state, name, params, as_json=as_json)


def _seconds(age: str) -> float:
    number, unit = age[:-1], age[-1:]
    if unit not in _UNITS or not number.isdigit():
        raise click.BadParameter(f"{age!r} is no age; write 90m, 12h or 30d", param_hint="'--older-than'")
    return int(number) * _UNITS[unit]


def _member(found: object, name: str) -> object:
    assert isinstance(found, Mapping)
    return found[name]


def _print(found: object, as_json: bool, sentence: str) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        write(sentence)


def _show(found: object, as_json: bool) -> Exit:
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        from orchestrator.cli.run_tables import run_view
        from orchestrator.cli.terminal import console

        assert isinstance(found, Mapping)
        console().print(run_view(found, time.time()))
    return Exit.FINE


def _outcome(found: object, as_json: bool) -> Exit:
    _show(found, as_json)
    return Exit.FAILED if _member(found, "status") == "parked" else Exit.FINE
