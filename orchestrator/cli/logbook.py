"""`penstock logs`: what the plugins of a host log, and the host itself; the newest lines, or those that come."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path

import click

from orchestrator.cli.completing import plugins_and_host, run_ids, stages
from orchestrator.cli.failures import Exit, printable, say, write
from orchestrator.cli.options import here_argument, json_option, state_option

__all__ = ["log_line", "logs"]

LEVELS = ("debug", "info", "warning", "error", "critical")
_TONES = {"debug": "bright_black", "info": "green", "warning": "yellow", "error": "red", "critical": "bright_red"}
MAX_LINES = 10_000


@click.command(short_help="Show what plugins and the host log.")
@here_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with the lines that come, until Ctrl-C.")
@click.option(
    "--plugin", metavar="NAME", shell_complete=plugins_and_host, help="Only this plugin's; `host` is the host itself."
)
@click.option("--stage", metavar="STAGE", shell_complete=stages, help="Only what was logged for this stage.")
@click.option("--run", metavar="ID", shell_complete=run_ids, help="Only this run's: its id, or the end of it.")
@click.option("--level", type=click.Choice(LEVELS), default="debug", show_default=True, help="This level and above.")
@click.option(
    "-n",
    "--lines",
    metavar="N",
    type=click.IntRange(0, MAX_LINES),
    default=200,
    show_default=True,
    help="How many of those that are kept.",
)
@state_option
@json_option("Print one JSON object a line.")
def logs(
    path: Path,
    follow: bool,
    plugin: str | None,
    stage: str | None,
    run: str | None,
    level: str,
    lines: int,
    state: Path | None,
    as_json: bool,
) -> Exit:
    """Show the newest lines of the host that serves PATH: level, worker, stage, run, request and what was said.

    The host keeps some 256 KiB of each plugin's lines, and of its own, whatever its terminal shows. A plugin sends
    what its own logging lets through; of Python plugins that is info and above, unless their author says otherwise.
    """
    from orchestrator.cli.commanding import follow as followed

    params = {"follow": follow, "plugin": plugin, "stage": stage, "run": run, "level": level, "lines": lines}
    with closing(followed(path, state, "logs", params)) as stream:
        for line in stream:
            if as_json:
                click.echo(json.dumps(line, ensure_ascii=False))
            elif line.get("type") == "Missed":
                say(f"{line['count']} lines were missed: they came faster than they could be read")
            else:
                write(log_line(line))
    return Exit.FINE


def log_line(line: Mapping[str, object]) -> str:
    """One line for people; a traceback follows it, indented."""
    at = line.get("at")
    clock = datetime.fromtimestamp(at).strftime("%H:%M:%S.%f")[:-3] if isinstance(at, int | float) else ""
    level = str(line.get("level"))
    who = str(line.get("worker") or line.get("plugin"))
    places = {"stage": line.get("stage"), "run": line.get("run_id"), "request": line.get("request_id")}
    fields = line.get("fields")
    known = {name: value for name, value in places.items() if value}
    known |= fields if isinstance(fields, Mapping) else {}
    head = f"{clock} {click.style(level, fg=_TONES.get(level), bold=True)} {printable(who)}: "
    text = f"{line.get('message')}" + "".join(f" {name}={value}" for name, value in known.items() if value != "")
    traceback = line.get("traceback")
    tail = "\n    " + str(traceback).rstrip().replace("\n", "\n    ") if traceback else ""
    return head + printable(text.replace("\n", "\n    ") + tail)
