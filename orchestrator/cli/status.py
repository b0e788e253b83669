"""`penstock status`: how the host of a file stands, and whatever is not as it should be."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.failures import Exit
from orchestrator.cli.options import here_argument, json_option, state_option

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["status"]

REFRESH_SECONDS = 1.0


@click.command(short_help="Show how the host of a file stands.")
@here_argument
@click.option("-w", "--watch", is_flag=True, help="Show it again every second, until Ctrl-C.")
@state_option
@json_option("Print it as one JSON object; with --watch one a line.")
def status(path: Path, watch: bool, state: Path | None, as_json: bool) -> Exit:
    """Show the host that serves PATH: since when, on which revision, its plugins with their workers, and what is not as
    it should be: open breakers, overrides in force, a canary, a refused change, a revision that drains.
    """
    if as_json:
        return _print(path, state, watch)
    from orchestrator.cli.live import show_each
    from orchestrator.cli.status_tables import status_view
    from orchestrator.cli.terminal import console

    if watch:
        show_each(_views(path, state))
    else:
        console().print(status_view(_asked(path, state, as_json=False), time.time()))
    return Exit.FINE


def _asked(path: Path, state: Path | None, *, as_json: bool) -> Mapping[str, object]:
    from orchestrator.cli.commanding import command

    found = command(path, state, "status", {}, as_json=as_json)
    assert isinstance(found, Mapping)
    return found


def _views(path: Path, state: Path | None) -> Iterator[RenderableType]:
    from orchestrator.cli.status_tables import status_view

    while True:
        yield status_view(_asked(path, state, as_json=False), time.time())
        time.sleep(REFRESH_SECONDS)


def _print(path: Path, state: Path | None, watch: bool) -> Exit:
    if not watch:
        click.echo(json.dumps(_asked(path, state, as_json=True), indent=2, ensure_ascii=False))
        return Exit.FINE
    try:
        while True:
            click.echo(json.dumps(_asked(path, state, as_json=True), ensure_ascii=False))
            time.sleep(REFRESH_SECONDS)
    except KeyboardInterrupt:
        return Exit.FINE
