"""`penstock top`: what a host does this second, on a screen that changes."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import islice
from pathlib import Path

import click

from orchestrator.cli.durations import Duration
from orchestrator.cli.failures import Exit
from orchestrator.cli.options import here_argument, json_option, state_option

__all__ = ["top"]


@click.command(short_help="Watch calls, runs, stages and workers of a host.")
@here_argument
@click.option("--once", is_flag=True, help="Count for one interval, show it and end.")
@click.option(
    "--interval",
    metavar="TIME",
    type=Duration("100ms", "60s"),
    default="1s",
    show_default=True,
    help="How often: 500ms, 5s.",
)
@state_option
@json_option("Print one JSON object an interval, each on a line.")
def top(path: Path, once: bool, interval: float, state: Path | None, as_json: bool) -> Exit:
    """Watch the host that serves PATH: calls a second, runs by pipeline and verdict with their latencies of the last
    five seconds, errors by stage, and what each worker is at and takes up. The host counts only while somebody looks.
    Ctrl-C leaves.
    """
    from orchestrator.cli.commanding import follow

    params = {"interval_seconds": interval}
    with closing(follow(path, state, "top", params)) as stream:
        figures = islice(stream, 1 if once else None)
        if as_json:
            try:
                for one in figures:
                    click.echo(json.dumps(one, ensure_ascii=False))
            except KeyboardInterrupt:
                pass
            return Exit.FINE
        from orchestrator.cli.live import show_each
        from orchestrator.cli.terminal import console
        from orchestrator.cli.top_tables import top_view

        if once:
            for one in figures:
                console().print(top_view(one))
        else:
            show_each(map(top_view, figures))
    return Exit.FINE
