"""`penstock doctor`: findings, each with its remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.failures import Exit, printable, write
from orchestrator.cli.options import EXISTING, json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.doctor.finding import Finding
    from orchestrator.loading import Loaded

__all__ = ["doctor"]

_SIGNS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}
SUBJECT_WIDTH = 16


@click.command(short_help="Look for what would keep Penstock from working here.")
@click.argument("path", metavar="[PATH]", required=False, type=EXISTING)
@click.option("--online", is_flag=True, help="Ask the package index too, and let environments be built from it.")
@json_option("Print the findings as one JSON list.")
def doctor(path: Path | None, online: bool, as_json: bool) -> Exit:
    """Look at this machine, uv, the store and the state folder; with PATH also at that pipeline file and its journal,
    and start each of its plugins.

    Each finding that is not fine comes with its remedy. An error makes the exit status 1, a warning does not.
    """
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            _show(finding)

    _examine(path, online=online, as_json=as_json, note=note)
    levels = [finding.level.value for finding in findings]
    if as_json:
        click.echo(json.dumps([_record(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        write(click.style(_summary(levels.count("error"), levels.count("warning")), bold=True))
    return Exit.FAILED if "error" in levels else Exit.FINE


def _examine(path: Path | None, *, online: bool, as_json: bool, note: Callable[[Finding], None]) -> None:
    from isolation.store.places import default_state_root, default_store_root
    from orchestrator.doctor.examination import examine
    from orchestrator.doctor.finding import Finding
    from orchestrator.state import state_folder

    for finding in examine(default_store_root(), default_state_root(), online=online):
        note(finding)
    if path is None:
        return
    from orchestrator.cli.options import pipeline_file
    from orchestrator.doctor.plugins import examine_file
    from orchestrator.doctor.state import examine_journal

    for finding in examine_journal(state_folder(pipeline_file(path))):
        note(finding)
    for found in examine_file(path):
        if isinstance(found, Finding):
            note(found)
        else:
            _start_plugins(found, online=online, as_json=as_json, note=note)


def _start_plugins(loaded: Loaded, *, online: bool, as_json: bool, note: Callable[[Finding], None]) -> None:
    from isolation.store.store import Store, default_store_root
    from orchestrator.cli.loop import run_loop
    from orchestrator.cli.progress import Bars, terminal_watches
    from orchestrator.doctor.plugins import examine_plugins

    async def go(store: Store, bars: Bars) -> None:
        async for finding in examine_plugins(loaded, store, bars.started):
            bars.clear()
            note(finding)

    shown = terminal_watches(stdout_is_data=as_json)
    with Bars(shown=shown) as bars, Store(default_store_root(), offline=not online, pipeline=loaded.path) as store:
        run_loop(go(store, bars))


def _show(finding: Finding) -> None:
    sign, colour = _SIGNS[finding.level.value]
    first, *more = finding.message.splitlines() or [""]
    write(f"{click.style(sign, fg=colour, bold=True)} {finding.subject:<{SUBJECT_WIDTH}} {printable(first)}")
    indent = " " * (SUBJECT_WIDTH + 3)
    for line in more:
        write(indent + printable(line))
    if finding.remedy:
        write(indent + click.style("→ ", fg="cyan") + finding.remedy)


def _summary(errors: int, warnings: int) -> str:
    if not errors and not warnings:
        return "All fine."
    return f"{errors} error{'' if errors == 1 else 's'}, {warnings} warning{'' if warnings == 1 else 's'}."


def _record(finding: Finding) -> dict[str, str]:
    return {
        "subject": finding.subject,
        "level": finding.level.value,
        "message": finding.message,
        "remedy": finding.remedy,
    }
