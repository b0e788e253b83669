"""What a host does this second, for the eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.failures import printable
from orchestrator.cli.records import members, number, records, text
from orchestrator.cli.status_tables import mebibytes
from orchestrator.cli.tables import milliseconds, plain_table

__all__ = ["top_view"]

Record = Mapping[str, object]

_VERDICTS = (("allow", "green"), ("modify", "yellow"), ("deny", "red"), ("failed", "bold red"))


def top_view(figures: Record) -> RenderableType:
    """One interval."""
    parts: list[RenderableType] = [_head(figures)]
    for name, table in (("pipelines", _pipelines), ("stages", _stages), ("plugins", _workers)):
        found = records(figures, name)
        if found:
            parts += [Text(), table(found)]
    breakers = records(figures, "breakers")
    if breakers:
        parts.append(Text())
    for view in breakers:
        words = f"breaker {text(view, 'plugin')}/{text(view, 'stage')} is {text(view, 'state')}"
        parts.append(Text(printable(words), style="bold red"))
    return Group(*parts)


def _head(figures: Record) -> Text:
    host = members(figures, "host")
    shown = Text(printable(text(figures, "name")), style="bold")
    shown.append(
        f"  {_rate(figures, 'calls')} calls/s, {text(figures, 'under_way')} under way, "
        f"{text(figures, 'open_runs')} open runs, host {_percent(host)} {mebibytes(host.get('rss_bytes'))}"
    )
    return shown


def _pipelines(found: Sequence[Record]) -> Table:
    table = plain_table()
    table.add_column("pipeline", overflow="fold")
    table.add_column("hook", overflow="fold")
    for name in ("runs/s", *(name for name, _ in _VERDICTS), "p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            Text(text(one, "pipeline")),
            Text(text(one, "hook"), style="dim"),
            _rate(one, "runs"),
            *(_tinted(one, name, style) for name, style in _VERDICTS),
            *_quantiles(one),
        )
    return table


def _stages(found: Sequence[Record]) -> Table:
    table = plain_table()
    table.add_column("stage", overflow="fold")
    table.add_column("plugin", overflow="fold")
    for name in ("calls/s", "denied/s", "errors/s", "p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            Text(f"{text(one, 'pipeline')}.{text(one, 'stage')}"),
            Text(text(one, "plugin"), style="dim"),
            _rate(one, "calls"),
            _tinted(one, "denied", "red"),
            _tinted(one, "errors", "bold red"),
            *_quantiles(one),
        )
    return table


def _workers(plugins: Sequence[Record]) -> Table:
    table = plain_table()
    table.add_column("worker", overflow="fold")
    table.add_column("state", no_wrap=True)
    for name in ("in flight", "waiting", "CPU", "RSS"):
        table.add_column(name, justify="right", no_wrap=True)
    for plugin in plugins:
        ready = f"{text(plugin, 'state')} {text(plugin, 'ready')}/{text(plugin, 'wanted')}"
        generation = Text(printable(text(plugin, "generation")), style="bold")
        table.add_row(generation, ready, text(plugin, "in_flight"), text(plugin, "waiting"), "", "")
        for worker in records(plugin, "workers"):
            table.add_row(
                Text(f"  {text(worker, 'worker')}", style="dim"),
                Text(f"pid {text(worker, 'pid')}", style="dim"),
                text(worker, "in_flight"),
                "",
                _percent(worker),
                mebibytes(worker.get("rss_bytes")),
            )
    return table


def _rate(record: Record, name: str) -> str:
    value = number(record, f"{name}_per_second")
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


def _tinted(record: Record, name: str, style: str) -> Text:
    return Text(_rate(record, name), style=style if number(record, f"{name}_per_second") else "dim")


def _quantiles(record: Record) -> tuple[Text, Text]:
    values = (record.get("p50_ms"), record.get("p99_ms"))
    first, second = (Text(milliseconds(float(value)) if isinstance(value, int | float) else "") for value in values)
    return first, second


def _percent(record: Record) -> str:
    value = record.get("cpu_percent")
    return f"{value:.0f} %" if isinstance(value, int | float) else ""
