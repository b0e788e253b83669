"""`penstock run`: calls from a file through the pipelines of another, verdicts as JSON lines or as one table."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completing import pipelines
from orchestrator.cli.failures import Exit, show_problems
from orchestrator.cli.options import (
    json_option,
    locked_option,
    must_be_pipeline,
    offline_option,
    path_argument,
    pipeline_file,
    profile_option,
    state_option,
    verbose_option,
)

if TYPE_CHECKING:
    from orchestrator.cli.figures import Tally
    from pipelines.plan import Plan

__all__ = ["run"]

MAX_CONCURRENCY = 1024


@click.command(short_help="Run calls through the pipelines of a file.")
@path_argument
@click.option("--pipeline", metavar="NAME", shell_complete=pipelines, help="Run this pipeline only.")
@click.option(
    "--input",
    "source",
    metavar="FILE|-",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="Calls, one JSON object a line; - is stdin. Default: input.jsonl beside the pipeline file.",
)
@profile_option
@json_option("Print one JSON object a pipeline a line, in input order.")
@click.option("--fail-on-deny", is_flag=True, help="Exit with 1 when any call was denied.")
@click.option(
    "--concurrency",
    metavar="N",
    type=click.IntRange(1, MAX_CONCURRENCY),
    default=1,
    show_default=True,
    help="Lines under way at once. One at a time gives the latencies of an idle host.",
)
@state_option
@locked_option
@offline_option
@verbose_option
def run(
    path: Path,
    pipeline: str | None,
    source: Path | None,
    profile: str | None,
    as_json: bool,
    fail_on_deny: bool,
    concurrency: int,
    state: Path | None,
    locked: bool,
    offline: bool,
    verbose: int,
) -> Exit:
    """Run calls through the pipelines of PATH, a pipeline file or a folder with pipeline.yaml.

    A line of the input is {"hook": ..., "payload": {...}, "context": {...}, "idempotency_key": "..."}, of which hook
    and payload must be there; it goes to the pipelines of its hook in the order of the file. What a run allowed is
    confirmed when its line is printed, and a run that has to undo something is printed when that is done. A line that
    is no call is reported on stderr with its number, does not stop the rest, and makes the exit status 1.
    """
    from orchestrator.cli.running import Wish, perform
    from orchestrator.loading import load

    loaded = load(path, profile=profile)
    show_problems(loaded.plan.warnings, as_json=False)
    if pipeline is not None:
        must_be_pipeline(pipeline, _names(loaded.plan))
    descriptor = _opened(source, path)
    wish = Wish(descriptor, source_name(source, path), pipeline, as_json, concurrency, locked, offline, verbose, state)
    tally, seconds = perform(loaded, wish)
    if not as_json:
        _show(tally, seconds)
    failed = tally.malformed or (fail_on_deny and tally.denied_lines)
    return Exit.FAILED if failed else Exit.FINE


def _show(tally: Tally, seconds: float) -> None:
    from orchestrator.cli.tables import run_report
    from orchestrator.cli.terminal import console

    console().print(run_report(tally, seconds))


def _names(plan: Plan) -> list[str]:
    return list(dict.fromkeys(each.name for route in plan.routes.values() for each in route))


def source_name(source: Path | None, path: Path) -> str:
    """How messages name the input."""
    if source is None:
        return str(pipeline_file(path).with_name("input.jsonl"))
    return "stdin" if str(source) == "-" else str(source)


def _opened(source: Path | None, path: Path) -> int:
    if source is not None and str(source) == "-":
        if sys.stdin is None:
            raise click.UsageError("stdin is closed")
        if sys.stdin.isatty():
            click.echo("Reading calls from the terminal, one JSON object a line; Ctrl-D ends.", err=True)
        return sys.stdin.fileno()
    name = source_name(source, path)
    try:
        return os.open(name, os.O_RDONLY)
    except FileNotFoundError:
        raise click.UsageError(
            f"{name} does not exist; name the input with --input FILE, or --input - for stdin"
        ) from None
