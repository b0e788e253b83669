"""How a host stands, for the eye. It reads the answer to `status`; a member that is not there is not shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.env import age
from orchestrator.cli.failures import printable
from orchestrator.cli.records import Record, members, number, records, text
from orchestrator.cli.tables import plain_table

__all__ = [
    "canary_words",
    "duration",
    "mebibytes",
    "status_view",
    "told_at",
]

_STATES = {"running": "green", "starting": "yellow", "degraded": "yellow", "failed": "bold red"}
_KIBI = 1024
SHOWN_RUNS = 4


def status_view(status: Record, now: float) -> RenderableType:
    """Everything, the host first."""
    parts: list[RenderableType] = [_host(status, now)]
    parts += [Text(), _plugins(records(status, "plugins"))]
    for lines in (_breakers, _overrides, _canary, _draining):
        found = list(lines(status, now))
        if found:
            parts += [Text(), *found]
    return Group(*parts)


def _host(status: Record, now: float) -> Text:
    host, revision = members(status, "host"), members(status, "revision")
    shown = Text(printable(text(status, "name")), style="bold")
    shown.append(f"  {printable(text(status, 'file'))}", style="dim")
    facts = [f"pid {text(host, 'pid')}", f"up {duration(now - number(host, 'since'))}"] if host else []
    facts += [mebibytes(host.get("rss_bytes"))] if host and host.get("rss_bytes") else []
    facts += [_revision(revision, now)] if revision else []
    facts += [f"{text(status, 'calls')} calls under way", f"{_count(status, 'open_runs')} open runs"]
    shown.append("\n" + ", ".join(facts))
    for line, style in _news(status, now):
        shown.append(f"\n{printable(line)}", style=style)
    return shown


def _revision(revision: Record, now: float) -> str:
    by = text(revision, "by")
    return f"revision {text(revision, 'number')} since {age(number(revision, 'since'), now)}" + (
        f" by {by}" if by else ""
    )


def _news(status: Record, now: float) -> Iterator[tuple[str, str]]:
    """What happened to the host itself, a line each."""
    frozen = status.get("frozen")
    if frozen.get("frozen", True) if isinstance(frozen, Mapping) else frozen:
        yield f"frozen: the watcher applies nothing{_because(frozen)}", "yellow"
    watcher = status.get("watcher")
    if isinstance(watcher, Mapping):
        yield f"watcher: {text(watcher, 'state') or 'on'}{_because(watcher)}", "dim"
    elif watcher is not None:
        yield f"watcher: {'on' if watcher is True else 'off' if watcher is False else watcher}", "dim"
    changed = members(status, "last_change")
    if changed:
        why = text(changed, "reason")
        yield (
            f"last change: revision {text(changed, 'number')} {text(changed, 'outcome')} "
            f"{age(_when(changed), now)} by {text(changed, 'by')}" + (f": {why}" if why else ""),
            "dim",
        )
    coming = members(status, "changing")
    if coming:
        since = duration(max(0.0, now - number(coming, "since")))
        yield f"a change by {text(coming, 'by')} is being made, for {since} now", "cyan"
    refused = members(status, "refused")
    if refused:
        yield f"change refused {age(_when(refused), now)} by {text(refused, 'by')}: {told_at(refused)}", "bold red"


def told_at(entry: Record) -> str:
    """Why, after the place where; a place that the reason begins with is not said twice."""
    where, reason = text(entry, "where"), text(entry, "reason")
    return reason if not where or reason.startswith(where) else f"{where}: {reason}"


def _when(change: Record) -> float:
    return number(change, "when") or number(change, "at")


def _because(holder: object) -> str:
    if not isinstance(holder, Mapping):
        return ""
    by, reason = text(holder, "by"), text(holder, "reason")
    return (f" (by {by})" if by else "") + (f": {reason}" if reason else "")


def _plugins(plugins: Sequence[Record]) -> Table:
    table = plain_table()
    for name in ("plugin", "generation", "version", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("ready", "in flight", "waiting", "restarts", "age", "RSS"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for plugin in plugins:
        state, ready, wanted = text(plugin, "state"), text(plugin, "ready"), text(plugin, "wanted")
        restarts = text(plugin, "restarts")
        table.add_row(
            Text(printable(text(plugin, "plugin"))),
            Text(text(plugin, "generation").partition("@")[2], style="dim"),
            Text(printable(text(plugin, "version"))),
            Text(state, style=_STATES.get(state, "")),
            Text(f"{ready}/{wanted}", style="" if ready == wanted else "yellow"),
            text(plugin, "owed"),
            text(plugin, "waiting"),
            Text(restarts, style="" if restarts in ("", "0") else "yellow"),
            duration(number(plugin, "age_seconds")),
            mebibytes(plugin.get("rss_bytes")),
            Text(printable(text(plugin, "reason").partition("\n")[0]), style="red"),
        )
    return table


def _breakers(status: Record, _: float) -> Iterator[RenderableType]:
    for view in records(status, "breakers"):
        state, retry = text(view, "state"), view.get("retry_seconds")
        words = f"breaker {text(view, 'plugin')}/{text(view, 'stage')} is {state}"
        words += f", forced: {text(view, 'reason')}" if view.get("forced") else ""
        words += f", {text(view, 'failures')} of {text(view, 'calls')} calls failed"
        words += f", tried again in {duration(float(retry))}" if isinstance(retry, int | float) else ""
        yield Text(printable(words), style="bold red" if state == "open" else "yellow")


def _overrides(status: Record, now: float) -> Iterator[RenderableType]:
    for one in records(status, "overrides"):
        left = duration(max(0.0, number(one, "until") - now))
        by = f" (by {text(one, 'by')})" if text(one, "by") else ""
        words = f"override: {text(one, 'stage')} is {text(one, 'mode')} for {left} more: {text(one, 'reason')}{by}"
        yield Text(printable(words), style="yellow")


def _canary(status: Record, _: float) -> Iterator[RenderableType]:
    canary = members(status, "canary")
    if canary:
        yield Text(printable(canary_words(canary)), style="cyan")


def canary_words(canary: Record) -> str:
    """Which revision is on trial, and how it does beside the stable one."""
    words = f"canary: revision {text(canary, 'revision')} takes {number(canary, 'percent'):g} % of the calls"
    for side, of in (("canary", "its"), ("stable", "the stable one's")):
        counted = members(canary, side)
        if counted:
            words += f"; {text(counted, 'failed')} of {of} {text(counted, 'calls')} calls failed"
    return words


def _draining(status: Record, _: float) -> Iterator[RenderableType]:
    for one in records(status, "draining"):
        runs = one.get("runs")
        names = [str(run) for run in runs] if isinstance(runs, list) else []
        held = ", ".join(names[:SHOWN_RUNS]) + (f" and {len(names) - SHOWN_RUNS} more" if names[SHOWN_RUNS:] else "")
        generations = members(one, "generations")
        what = ", ".join(map(str, generations.values())) or text(one, "generation") or text(one, "plugin")
        words = f"revision {text(one, 'revision')}{f' ({what})' if what else ''} drains"
        yield Text(printable(f"{words}; held by {held or 'no run any more'}"), style="yellow")


def _count(record: Record, name: str) -> int:
    found = record.get(name)
    return len(found) if isinstance(found, list) else 0


def duration(seconds: float) -> str:
    """How long, in the two largest units."""
    whole = max(0, round(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"


def mebibytes(count: object) -> str:
    """How much memory; "" where nobody knows."""
    return f"{count / _KIBI**2:.0f} MiB" if isinstance(count, int | float) else ""
