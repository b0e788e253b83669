"""`penstock env`: what is in the store, and making room in it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator.cli.failures import Exit, say, write
from orchestrator.cli.options import json_option

if TYPE_CHECKING:
    from isolation.store.collection import GcReport
    from isolation.store.inventory import EnvironmentInfo

__all__ = ["env"]

FINGERPRINT_SHOWN = 12
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@click.group(short_help="List the stored environments; remove those unused.")
def env() -> None:
    """The environments of all plugins, kept in one store and shared where they are equal.

    The store is the folder that PENSTOCK_STORE names, else `penstock` in the user's cache folder.
    """


@env.command("list")
@json_option("Print the environments as one JSON list.")
def list_environments(as_json: bool) -> Exit:
    """List the environments, the most recently used first."""
    from isolation.store.store import Store, default_store_root

    with Store(default_store_root()) as store:
        found = store.environments()
    if as_json:
        click.echo(json.dumps([_record(info) for info in found], indent=2))
    elif found:
        _show_table(found)
    else:
        say(f"no environments in {default_store_root()} yet")
    return Exit.FINE


@env.command("gc")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option("Print what was, or would be, removed as one JSON object.")
def collect(dry_run: bool, as_json: bool) -> Exit:
    """Remove what nobody needs: no running process, and none of the last three generations of any plugin."""
    from isolation.store.store import Store, default_store_root

    with Store(default_store_root()) as store:
        report = store.gc(dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({**asdict(report), "freed_bytes": report.freed_bytes}, indent=2))
    else:
        _show_report(report)
    return Exit.FINE


def _record(info: EnvironmentInfo) -> dict[str, object]:
    return {**asdict(info), "path": str(info.path)}


def _show_table(found: list[EnvironmentInfo]) -> None:
    from orchestrator.cli.tables import plain_table
    from orchestrator.cli.terminal import console

    table = plain_table()
    table.add_column("environment", no_wrap=True)
    table.add_column("plugins")
    table.add_column("python", no_wrap=True)
    for name in ("packages", "size", "used"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    now = time.time()
    for info in found:
        name, plugins = info.fingerprint[:FINGERPRINT_SHOWN], ", ".join(info.plugins) or "-"
        table.add_row(
            name, plugins, info.python, str(len(info.packages)), size(info.bytes), age(info.used, now), _state(info)
        )
    console().print(table)


def _state(info: EnvironmentInfo) -> str:
    if not info.whole:
        return "[red]broken[/red]"
    return "[green]in use[/green]" if info.in_use else "" if info.plugins else "[dim]unused[/dim]"


def _show_report(report: GcReport) -> None:
    for entry in report.removed:
        write(f"{entry.kind.removesuffix('s')} {entry.name[:FINGERPRINT_SHOWN]}  {size(entry.bytes)}")
    verb = "would free" if report.dry_run else "freed"
    write(click.style(f"{verb} {size(report.freed_bytes)}, {report.kept} kept", bold=True))


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def age(then: float, now: float) -> str:
    """How long ago, in the largest unit that fits; a dash for never."""
    seconds = max(0, int(now - then))
    if not then:
        return "-"
    if seconds < _MINUTE:
        return "just now"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min ago"
    return f"{seconds // _HOUR} h ago" if seconds < _DAY else f"{seconds // _DAY} d ago"
