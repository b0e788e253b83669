"""`penstock serve`: a pipeline file in service at a Unix socket, until SIGTERM or Ctrl-C."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.failures import Exit, show_problems
from orchestrator.cli.options import (
    locked_option,
    offline_option,
    path_argument,
    profile_option,
    state_option,
    verbose_option,
)

__all__ = ["serve"]

DRAIN_SECONDS = 30.0


@click.command(short_help="Serve a file at a socket until told to stop.")
@path_argument
@click.option(
    "--socket",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to listen. Default: serve.sock in the state folder.",
)
@click.option("--watch/--no-watch", default=True, show_default=True, help="Apply changes of the file and its plugins.")
@click.option(
    "--drain-seconds",
    metavar="N",
    type=click.FloatRange(min=0.0),
    default=DRAIN_SECONDS,
    show_default=True,
    help="When stopping: how long calls under way may take; then they are denied.",
)
@click.option("--from-files", is_flag=True, help="Start with what the files hold, though it was rolled back from.")
@profile_option
@state_option
@locked_option
@offline_option
@verbose_option
def serve(
    path: Path,
    socket: Path | None,
    watch: bool,
    drain_seconds: float,
    from_files: bool,
    profile: str | None,
    state: Path | None,
    locked: bool,
    offline: bool,
    verbose: int,
) -> Exit:
    """Serve the pipelines of PATH, a pipeline file or a folder with pipeline.yaml, over HTTP on a Unix socket.

    The socket is for its owner and root alone; /v1/openapi.json says what it takes. It is there at once, /readyz says
    when every plugin is ready. SIGTERM, SIGHUP or Ctrl-C stops: no new connection is taken, calls under way get their
    verdict, what has to be undone is undone, and the exit status is 0. A second one denies what is still under way. One
    host serves a file, and a socket, at a time.
    """
    from orchestrator.cli.serving import Wish, perform
    from orchestrator.loading import load

    loaded = load(path, profile=profile)
    show_problems(loaded.plan.warnings, as_json=False)
    perform(loaded, Wish(socket, watch, drain_seconds, from_files, state, locked, offline, verbose))
    return Exit.FINE
