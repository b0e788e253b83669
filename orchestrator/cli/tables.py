"""Figures of a run as a table for people. It computes nothing: every number comes from `orchestrator.cli.figures`."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.failures import printable
from orchestrator.cli.figures import PipelineFigures, Reason, StageFigures, Tally

__all__ = ["milliseconds", "plain_table", "run_report"]

_VERDICTS = (("allow", "green"), ("modify", "yellow"), ("deny", "red"), ("failed", "bold red"))
REASONS_SHOWN = 8


def plain_table() -> Table:
    """A table with a rule under its head and nothing else, two spaces between columns."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")


def run_report(tally: Tally, seconds: float) -> RenderableType:
    """The table per hook and pipeline, why runs were denied or failed, and one closing line."""
    parts: list[RenderableType] = [_runs(tally)]
    if tally.reasons:
        parts += [Text(), _reasons(tally.reasons.values())]
    return Group(*parts, Text(), _closing(tally, seconds))


def _runs(tally: Tally) -> Table:
    table = plain_table()
    # Only names give way on a narrow terminal; a figure cut in half is worse than none.
    table.add_column("hook and pipeline", overflow="fold")
    for name in ("runs", *(name for name, _ in _VERDICTS), "p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    hook = None
    for (of_hook, pipeline), figures in _ordered(tally):
        if of_hook != hook:
            table.add_row(Text(of_hook, style="bold cyan"))
            hook = of_hook
        _add_pipeline(table, pipeline, figures)
    return table


def _ordered(tally: Tally) -> list[tuple[tuple[str, str | None], PipelineFigures]]:
    """Each hook in one place, in the order in which they came up; those that no pipeline ever took come last."""
    taken = {hook for hook, pipeline in tally.pipelines if pipeline is not None}
    hooks = list(dict.fromkeys(hook for hook, _ in tally.pipelines))
    rank = {hook: (hook not in taken, place) for place, hook in enumerate(hooks)}
    return sorted(tally.pipelines.items(), key=lambda item: (rank[item[0][0]], item[0][1] is None))


def _add_pipeline(table: Table, pipeline: str | None, figures: PipelineFigures) -> None:
    name = Text(f"  {pipeline}") if pipeline else Text("  no pipeline", style="dim")
    counts = [_count(figures.verdicts[verdict], style) for verdict, style in _VERDICTS]
    table.add_row(name, str(figures.runs), *counts, *_quantiles(figures.latency.quantile))
    for place, (stage, stage_figures) in enumerate(figures.stages.items(), start=1):
        branch = "└" if place == len(figures.stages) else "├"
        _add_stage(table, f"  {branch} {stage}", stage_figures)


def _add_stage(table: Table, name: str, figures: StageFigures) -> None:
    states = figures.states
    table.add_row(
        Text(name, style="dim"),
        Text(str(figures.ran), style="dim"),
        "",
        "",
        _count(states["denied"], "red"),
        _count(figures.errors, "bold red"),
        *_quantiles(figures.latency.quantile),
    )


def _quantiles(quantile: object) -> tuple[Text, Text]:
    assert callable(quantile)
    return Text(milliseconds(quantile(0.5))), Text(milliseconds(quantile(0.99)))


def _count(number: int, style: str) -> Text:
    return Text(str(number), style=style) if number else Text("·", style="dim")


def milliseconds(value: float | None) -> str:
    """A latency in two or three digits, with its unit."""
    if value is None:
        return ""
    if value < 1:
        return f"{value * 1000:.0f} µs"
    if value < 10:
        return f"{value:.1f} ms"
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.0f} s"


def _reasons(reasons: Iterable[Reason]) -> Table:
    table = plain_table()
    table.add_column("why denied or failed", no_wrap=True)
    table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("first line", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    ordered = sorted(reasons, key=lambda reason: -reason.count)
    for reason in ordered[:REASONS_SHOWN]:
        style = "red" if reason.kind == "deny" else "bold red"
        text = printable(reason.text.splitlines()[0]) if reason.text else ""
        table.add_row(Text(printable(reason.code), style=style), str(reason.count), str(reason.line), Text(text))
    if len(ordered) > REASONS_SHOWN:
        table.add_row(Text(f"and {len(ordered) - REASONS_SHOWN} more", style="dim"))
    return table


def _closing(tally: Tally, seconds: float) -> Text:
    text = Text(f"{tally.lines} line{'' if tally.lines == 1 else 's'} in {seconds:.2f} s", style="dim")
    if tally.malformed:
        text.append(f", {tally.malformed} malformed", style="bold red")
    return text
