"""`penstock tap`: what one stage is given and what it answers, while it happens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path

import click

from orchestrator.cli.completing import pipelines, places_of_stages
from orchestrator.cli.failures import Exit, printable, say, write
from orchestrator.cli.options import EXISTING, json_option, state_option

__all__ = ["tap", "tapped"]

ONE_LINE_CHARACTERS = 100
_TONES = {"succeeded": "green", "denied": "red", "failed": "bright_red", "skipped": "yellow"}


@click.command(short_help="Watch what a stage is given and what it answers.")
@click.argument("stage", metavar="STAGE", shell_complete=places_of_stages)
@click.argument("path", metavar="[PATH]", type=EXISTING, default=Path())
@click.option("--pipeline", metavar="NAME", shell_complete=pipelines, help="Only in this pipeline.")
@click.option("--show-values", is_flag=True, help="Show values too. The host logs who did so.")
@click.option("--limit", metavar="N", type=click.IntRange(1), help="End after so many calls.")
@state_option
@json_option("Print one JSON object a call, each on a line.")
def tap(
    stage: str,
    path: Path,
    pipeline: str | None,
    show_values: bool,
    limit: int | None,
    state: Path | None,
    as_json: bool,
) -> Exit:
    """Watch a stage of the host that serves PATH: its payload, input and context, and what its plugin answered.

    STAGE is a stage of a pipeline, or PIPELINE/STAGE. Keys, kinds and lengths are shown, values are not unless
    --show-values says so. About 20 calls a second are shown; of a busier stage the rest is counted. Only runs that
    begin from now on are seen. Ctrl-C ends it.
    """
    from orchestrator.cli.commanding import follow

    params = {"stage": stage, "pipeline": pipeline, "values": show_values, "limit": limit}
    with closing(follow(path, state, "tap", params)) as stream:
        for seen in stream:
            if as_json:
                click.echo(json.dumps(seen, ensure_ascii=False))
            elif seen.get("type") == "Missed":
                say(f"{seen['count']} calls were missed: they came faster than they could be read")
            else:
                write(tapped(seen))
    return Exit.FINE


def tapped(seen: Mapping[str, object]) -> str:
    """One call for people."""
    state, at = str(seen.get("state")), seen.get("at")
    clock = datetime.fromtimestamp(at).strftime("%H:%M:%S.%f")[:-3] if isinstance(at, int | float) else ""
    facts = [f"{seen.get('pipeline')}.{seen.get('stage')} on {seen.get('hook')}", f"{seen.get('duration_ms')} ms"]
    facts += [f"by {seen['worker']}"] if seen.get("worker") else []
    facts += [f"{name} {seen[key]}" for name, key in (("run", "run_id"), ("request", "request_id")) if seen.get(key)]
    head = f"{clock} {click.style(state, fg=_TONES.get(state), bold=True)} {printable(', '.join(facts))}"
    lines = [head]
    if seen.get("code") or (state != "succeeded" and seen.get("why")):
        said = ": ".join(str(part) for part in (seen.get("code") or seen.get("why"), seen.get("reason")) if part)
        lines.append(printable(f"  {said}"))
    given = seen.get("given")
    parts = [*given.items()] if isinstance(given, Mapping) else []
    parts.append(("answer", seen.get("answer")))
    parts = [(name, _said(value) if name == "context" else value) for name, value in parts]
    lines += [f"  {name:<8}{_shown(value)}" for name, value in parts if value not in (None, {})]
    if seen.get("passed"):
        lines.append(f"  {seen['passed']} calls before it were not shown")
    return "\n".join(lines)


def _said(context: object) -> object:
    """A context without the members that its caller left out."""
    if not isinstance(context, Mapping):
        return context
    said = {name: _said(value) for name, value in context.items()}
    return {name: value for name, value in said.items() if value not in ("text(0)", "", [], {})}


def _shown(value: object) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if len(line) > ONE_LINE_CHARACTERS:
        line = json.dumps(value, ensure_ascii=False, indent=2).replace("\n", "\n          ")
    return printable(line)
