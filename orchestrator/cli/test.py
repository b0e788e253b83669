"""`penstock test`: the tests written in a pipeline file, each a call through the real engine with its mocks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completing import tests
from orchestrator.cli.failures import Exit, say, show_problems, write
from orchestrator.cli.options import (
    json_option,
    locked_option,
    offline_option,
    path_argument,
    profile_option,
    verbose_option,
)
from pipelines.suggest import nearest

if TYPE_CHECKING:
    from orchestrator.cases import CaseReport
    from orchestrator.loading import Loaded
    from orchestrator.orchestrator import Orchestrator

__all__ = ["test"]


@click.command(short_help="Run the tests written in a pipeline file.")
@path_argument
@click.option("--only", metavar="NAME", multiple=True, shell_complete=tests, help="Run this test; may be repeated.")
@profile_option
@json_option("Print one JSON object a test a line.")
@locked_option
@offline_option
@verbose_option
def test(
    path: Path, only: tuple[str, ...], profile: str | None, as_json: bool, locked: bool, offline: bool, verbose: int
) -> Exit:
    """Run the tests of PATH: each sends its payload through its pipeline; a stage with a mock answers as that says.

    An expectation that does not hold is shown with its place and the values it looked at; the exit status is 1 then.
    """
    from orchestrator.loading import load

    loaded = load(path, profile=profile)
    show_problems(loaded.plan.warnings, as_json=False)
    _must_exist(only, loaded)
    if not loaded.plan.cases:
        say(f"{loaded.path} has no tests; write some under `tests:`")
        return Exit.FINE
    show = _show_record if as_json else _show_lines
    reports = _perform(loaded, only, show, locked=locked, offline=offline, as_json=as_json, verbose=verbose)
    failed = sum(not report.passed for report in reports)
    if not as_json:
        count = f"{len(reports)} test{'' if len(reports) == 1 else 's'}"
        write(click.style(f"{count}, {failed} failed" if failed else f"{count} passed", bold=True))
    return Exit.FAILED if failed else Exit.FINE


def _must_exist(only: tuple[str, ...], loaded: Loaded) -> None:
    names = [case.name for case in loaded.plan.cases]
    for name in only:
        if name not in names:
            close = nearest(name, names)
            meant = f"; did you mean {close!r}?" if close else ""
            raise click.BadParameter(f"no test {name!r}{meant}", param_hint="'--only'")


def _perform(
    loaded: Loaded,
    only: tuple[str, ...],
    show: Callable[[CaseReport], None],
    *,
    locked: bool,
    offline: bool,
    as_json: bool,
    verbose: int,
) -> list[CaseReport]:
    from orchestrator.cli.loop import run_loop
    from orchestrator.cli.opening import opened
    from orchestrator.cli.progress import Bars, terminal_watches

    async def go(bars: Bars) -> list[CaseReport]:
        opening = opened(loaded, bars, locked=locked, offline=offline, verbosity=verbose, rehearsal=True)
        async with opening as orchestrator:
            return await _run_cases(orchestrator, only, show)

    with Bars(shown=terminal_watches(stdout_is_data=as_json)) as bars:
        return run_loop(go(bars))


async def _run_cases(
    orchestrator: Orchestrator, only: tuple[str, ...], show: Callable[[CaseReport], None]
) -> list[CaseReport]:
    from orchestrator.cases import run_case

    reports = []
    for index, case in enumerate(orchestrator.loaded.plan.cases):
        if not only or case.name in only:
            reports.append(await run_case(orchestrator, case, index))
            show(reports[-1])
    return reports


def _show_record(report: CaseReport) -> None:
    click.echo(json.dumps(report.record(), ensure_ascii=False))


def _show_lines(report: CaseReport) -> None:
    mark = click.style("✓", fg="green") if report.passed else click.style("✗", fg="red", bold=True)
    write(f"{mark} {report.case.name}  " + click.style(f"{report.duration_ms:.1f} ms", dim=True))
    for failure in report.failures:
        write(f"    {failure.place}: {click.style(failure.expectation, bold=True)}")
        write(click.style(f"        {failure.said}", fg="red"))
        for name, value in failure.values.items():
            write(f"        {name} = {value}")
    if report.failures and report.cause:
        write(f"        {report.cause}")
