"""What reloads cost: calls that fail, are lost or mixed, how much later answers come, how soon a change is live.

    uv run python benchmarks/reload.py [--soak] [--live] [--canary] [--idle] [--http]

Without one of the first four, all of them run. Real processes serve real files in a temporary folder. `--soak` keeps
32 calls in flight over changes of every kind, sound and broken; `--calls 100000 --reloads 100` is the large one. Each
change is followed by the burning of as much CPU as it takes on an idle host, over as many calls, so that latencies
compare like with like. `--http` asks `penstock serve` at its socket instead of a host in this process.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvloop
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from reloading.callers import IN_FLIGHT
from reloading.hosts import Serving, daemon, embedded, serving
from reloading.idle import idle, write_many
from reloading.live import live
from reloading.scene import ALONE, ASK, Scene
from reloading.script import script
from reloading.soak import Soak, Span, costs_of, soak
from reloading.trials import FAILS_HALF, SLOW, Ended, trials

PLUGINS = 24
PER_SECOND = 1000.0
MOST_CALLS = 20_000
"""A canary that is not ended after so many calls is not going to be."""

Tick = Callable[[], None]


@contextmanager
def _steps(what: str, count: int) -> Iterator[Tick]:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        shown = progress.add_task(what, total=count)
        yield functools.partial(progress.advance, shown)


# The soak.


async def _soak(given: argparse.Namespace, folder: Path, serves: Serving) -> None:
    wishes = list(script(given.reloads))
    with _steps("changes on an idle host", len(wishes)) as tick:
        costs = await costs_of(wishes, folder / "idle", serves, tick)
    with _steps("soak", len(wishes)) as tick:
        found = await soak(wishes, given.calls, folder / "soak", serves, tick, costs)
    cpu = sum(cost.cpu_seconds for cost in costs)
    _print(_counts(found, cpu))
    _print(_latencies(found))
    for what, count in found.callers.failed.most_common(5):
        _print(f"{count} failed: {what}")
    for what, count in found.callers.mixed(found.changes.looks).most_common(5):
        _print(f"{count} mixed: {what}")
    for made in found.surprises:
        _print(f"{made.wish.name}: {made.outcome} {made.reason}")


def _counts(found: Soak, cpu: float) -> Table:
    made, callers = found.changes.made, found.callers
    broken = [one for one in made if one.wish.broken]
    refused = sum(one.outcome == "refused" for one in broken)
    kinds = Counter(one.wish.name for one in made)
    shown = ", ".join(f"{count} {name}" for name, count in kinds.items())
    table = Table("what", "count", "aim", title=f"soak: {IN_FLIGHT} calls in flight", caption=shown)
    rows: list[tuple[str, object, str]] = [
        ("calls answered", callers.answered, ""),
        ("failed", callers.failed.total(), "0"),
        ("lost", callers.lost + found.left, "0"),
        ("mixed, or answered by what was gone when they came", callers.mixed(found.changes.looks).total(), "0"),
        ("reloads made", len(made) - len(broken), ""),
        ("broken changes refused", f"{refused} of {len(broken)}", "all"),
        ("something else came of it", len(found.surprises), "0"),
        ("CPU that a change takes on an idle host, mean", f"{cpu / len(made):.2f} s", ""),
    ]
    for what, count, aim in rows:
        table.add_row(what, str(count), aim)
    return table


def _latencies(found: Soak) -> Table:
    table = Table(title="latency during a change, against burning its CPU; aim: p99.9 at most 50 ms more")
    for heading in ("calls", "while", "number", "p50", "p99", "p99.9", "more"):
        table.add_column(heading, justify="left" if heading in ("calls", "while") else "right")
    until_burning = _whole(found.during_changes, found.during_burning)
    until_changes = _whole(found.during_burning, found.during_changes[1:])
    for name, hooks in (("a, b: overlap", (ASK,)), ("c: replaced", (ALONE,)), ("all", (ASK, ALONE))):
        for what, changing, burning in (
            (name, found.during_changes, found.during_burning),
            ("  and after", until_burning, until_changes),
        ):
            _compare(table, what, found.latencies(changing, hooks), found.latencies(burning, hooks))
    return table


def _compare(table: Table, name: str, changing: Sequence[float], burning: Sequence[float]) -> None:
    more = _quantile(changing, 0.999) - _quantile(burning, 0.999)
    table.add_row(name, "changing", *_figures(changing), f"{more * 1e3:+.0f} ms")
    table.add_row("", "burning", *_figures(burning), "")


def _whole(spans: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """Each span until the next of the other side begins."""
    ends = [*(other.begun for other in others), float("inf")]
    return [Span(span.begun, end) for span, end in zip(spans, ends, strict=False)]


def _figures(latencies: Sequence[float]) -> list[str]:
    return [str(len(latencies)), *(f"{_quantile(latencies, at) * 1e3:.0f} ms" for at in (0.5, 0.99, 0.999))]


def _quantile(latencies: Sequence[float], at: float) -> float:
    ordered = sorted(latencies)
    return ordered[min(int(len(ordered) * at), len(ordered) - 1)] if ordered else float("nan")


# The others.


async def _live(given: argparse.Namespace, folder: Path, serves: Serving) -> None:
    scene = Scene(folder / "live")
    async with serves(scene) as host:
        with _steps("changes", given.rounds) as tick:
            found = await live(host, scene, given.rounds, tick)
    title = f"{given.rounds} changes of a line, stdlib only, debounce 50 ms; one answer each {_ms(found.apart)}"
    table = Table("until the first answer", "median", "p90", "max", "aim", title=title)
    for what, seconds, aim in (("save", found.save, "500 ms median"), ("rollback", found.rollback, "1 s")):
        p90, most = _quantile(seconds, 0.9), max(seconds)
        table.add_row(what, _ms(seconds), f"{p90 * 1e3:.0f} ms", f"{most * 1e3:.0f} ms", aim)
    _print(table)


def _ms(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.3g} ms"


async def _canary(given: argparse.Namespace, folder: Path, _: Serving) -> None:
    title = f"canaries of 5 %, {PER_SECOND:g} calls/s offered, {given.seeds} seeds each"
    caption = "slow is who takes twice as long as the stable one: on a machine that is busy with others, 10 ms are not"
    table = Table(title=title, caption=caption)
    for heading in ("canary", "ended", "failed", "most", "aim", "calls", "most", "calls/s"):
        table.add_column(heading, justify="left" if heading == "canary" else "right")
    async with trials(folder / "canary") as host:
        for name, body, aim in (("fails half", FAILS_HALF, "100"), ("takes 10 ms more", SLOW, "")):
            ends: list[Ended] = []
            with _steps(name, given.seeds) as tick:
                for seed in range(given.seeds):
                    ends.append(await host.broken(body, seed, MOST_CALLS, PER_SECOND))
                    tick()
            ended = f"{sum(bool(one.reason) for one in ends)} of {len(ends)}"
            figures = [
                *_middle_and_most([one.denied for one in ends]),
                aim,
                *_middle_and_most([one.calls for one in ends]),
            ]
            rate = statistics.median(one.calls / one.seconds for one in ends)
            table.add_row(name, ended, *figures, f"{rate:.0f}")
    _print(table)


def _middle_and_most(counts: Sequence[int]) -> tuple[str, str]:
    return f"{statistics.median(counts):.0f}", str(max(counts))


async def _idle(given: argparse.Namespace, folder: Path, _: Serving) -> None:
    served = folder / "many"
    write_many(served, PLUGINS)
    environment = {**os.environ, "PENSTOCK_STORE": str(folder / "many-store")}
    async with serving(served, folder / "many-state", folder / "many.log", environment) as host:
        with _steps("idle", 1) as tick:
            found = await idle(host, given.seconds)
            tick()
    table = Table("who", "of a CPU", "aim", title=f"penstock serve, {PLUGINS} plugins, idle for {given.seconds:g} s")
    table.add_row("the daemon", f"{found.daemon:.2%}", "1 %")
    table.add_row(f"its {found.processes} other processes together", f"{found.others:.2%}", "")
    _print(table)


def _print(shown: Table | str) -> None:
    Console().print(shown)


PARTS: dict[str, Callable[[argparse.Namespace, Path, Serving], Awaitable[None]]] = {
    "soak": _soak,
    "live": _live,
    "canary": _canary,
    "idle": _idle,
}


async def _run(given: argparse.Namespace) -> None:
    wanted = [name for name in PARTS if getattr(given, name)] or list(PARTS)
    serves: Serving = daemon if given.http else embedded
    with tempfile.TemporaryDirectory(prefix="penstock-reload-") as folder:
        for name in wanted:
            await PARTS[name](given, Path(folder), serves)


def main() -> None:
    """Run what is asked for, and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in PARTS:
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--http", action="store_true", help="ask `penstock serve` at its socket")
    parser.add_argument("--calls", type=int, default=5_000, help="calls of the soak, and as many while CPU is burnt")
    parser.add_argument("--reloads", type=int, default=12, help="sound changes of the soak; broken ones come with them")
    parser.add_argument("--rounds", type=int, default=20, help="changes that --live times")
    parser.add_argument("--seeds", type=int, default=5, help="canaries of each kind")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long --idle looks on")
    given = parser.parse_args()
    logging.getLogger("penstock").setLevel(logging.CRITICAL)
    uvloop.run(_run(given))


if __name__ == "__main__":
    main()
