"""`penstock override`: how a violation of a stage counts for a while, without a change of the file."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import click

from orchestrator.cli.completing import places_of_stages
from orchestrator.cli.durations import DURATION
from orchestrator.cli.failures import Exit, printable, say, write
from orchestrator.cli.options import EXISTING, json_option, state_option

__all__ = ["override"]

MODES = ("permissive", "disabled")


@click.command(short_help="Make a stage permissive, or disable it, for a while.")
@click.argument("words", metavar="[STAGE] [PATH]", nargs=-1, shell_complete=places_of_stages)
@click.option("--mode", type=click.Choice(MODES), help="What becomes of the stage.")
@click.option("--for", "seconds", metavar="TIME", type=DURATION, help="For how long: 30m, 2h. It ends by itself.")
@click.option("--reason", metavar="TEXT", help="Why; shown in the status and on every run that it affects.")
@click.option("--list", "listed", is_flag=True, help="List the overrides in force.")
@click.option("--clear", metavar="STAGE", shell_complete=places_of_stages, help="End the override of this stage now.")
@state_option
@json_option("Print what is in force then as JSON.")
def override(
    words: tuple[str, ...],
    mode: str | None,
    seconds: float | None,
    reason: str | None,
    listed: bool,
    clear: str | None,
    state: Path | None,
    as_json: bool,
) -> Exit:
    """Override the mode of a stage of the host that serves PATH.

    STAGE is a stage of a pipeline, or PIPELINE/STAGE. It needs --mode, --for and --reason, survives a reload, and ends
    by itself.
    """
    setting = mode is not None or seconds is not None or reason is not None
    if listed + (clear is not None) + setting > 1:
        raise click.UsageError("--list, --clear and setting an override are three commands")
    if listed:
        return _show(_asked(_path(words), state, "override.list", {}, as_json=as_json), as_json)
    if clear is not None:
        return _show(_asked(_path(words), state, "override.clear", {"stage": clear}, as_json=as_json), as_json)
    if not words:
        raise click.UsageError("name the STAGE to override, or say --list or --clear STAGE")
    if mode is None or seconds is None or reason is None or not reason.strip():
        raise click.UsageError("an override needs --mode, --for and --reason, so that it ends and others know why")
    _bounded(seconds)
    params = {"stage": words[0], "mode": mode, "seconds": seconds, "reason": reason.strip()}
    return _show(_asked(_path(words[1:]), state, "override.set", params, as_json=as_json), as_json)


def _path(words: tuple[str, ...]) -> Path:
    """What is left of the words: nothing, or the PATH."""
    if len(words) > 1:
        raise click.UsageError(f"unexpected argument {words[1]!r}")
    path: Path = EXISTING.convert(words[0] if words else ".", None, None)
    return path


def _bounded(seconds: float) -> None:
    from pipelines.file.overriding import MAX_SECONDS

    if seconds > MAX_SECONDS:
        most = f"{MAX_SECONDS / 86400:g}d is the most; what is to hold for longer belongs into the file"
        raise click.BadParameter(most, param_hint="--for")


def _asked(path: Path, state: Path | None, name: str, params: Mapping[str, object], *, as_json: bool) -> object:
    from orchestrator.cli.commanding import command

    return command(path, state, name, params, as_json=as_json)


def _show(found: object, as_json: bool) -> Exit:
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return Exit.FINE
    inside = found.get("overrides", [found] if "stage" in found else []) if isinstance(found, Mapping) else found
    overrides = [one for one in inside if isinstance(one, Mapping)] if isinstance(inside, list) else []
    for one in overrides:
        write(printable(_sentence(one)))
    if not overrides:
        say("no override is in force")
    return Exit.FINE


def _sentence(one: Mapping[str, object]) -> str:
    from orchestrator.cli.records import number, text
    from orchestrator.cli.status_tables import duration

    left = duration(max(0.0, number(one, "until") - time.time()))
    by = f" (by {text(one, 'by')})" if text(one, "by") else ""
    return f"{text(one, 'stage')} is {text(one, 'mode')} for {left} more: {text(one, 'reason')}{by}"
