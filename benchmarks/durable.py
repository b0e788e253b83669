"""What breakers, retries and the journal add to a call, against the same pipeline without them.

    uv run python benchmarks/durable.py [--rounds N]

Contenders take turns in small batches, as in spine.py. The journal is in a temporary folder, or below --state: what a
sync costs is the disk's. A run of one stage that changes nothing has four synced events: begun, settled, answered,
confirmed. The caller waits for the first three.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from spine import CONTEXT, IN_FLIGHT, SETTLE_SECONDS, SMALL, Figures

from isolation.store.store import Store, default_store_root
from orchestrator.door import admit_context, admit_payload
from orchestrator.loading import load
from orchestrator.orchestrator import HookResult, Orchestrator

FILE = Path(__file__).with_name("durable.yaml")

ONE_AT_A_TIME = 200
SIDE_BY_SIDE = 640
"""Calls of one batch."""

MOST_MICROSECONDS = 20.0
"""The aim for what a breaker and a retry policy may add to a call that succeeds at once."""


def _hook(penstock: Orchestrator, hook: str) -> Callable[[], Awaitable[HookResult]]:
    body, context = admit_payload(SMALL), admit_context(CONTEXT)
    return lambda: penstock.invoke(hook, body, context)


async def _timed(into: list[float], count: int, call: Callable[[], Awaitable[HookResult]]) -> None:
    for _ in range(count):
        begun = time.perf_counter()
        result = await call()
        into.append(time.perf_counter() - begun)
        assert result.verdict == "allow", result.records


async def _one_at_a_time(penstock: Orchestrator, figures: Figures, rounds: int) -> None:
    for _ in range(rounds):
        for hook in ("bench_bare", "bench_guarded"):
            await _timed(figures.setdefault(hook, []), ONE_AT_A_TIME, _hook(penstock, hook))
        await _timed(figures.setdefault("bench_durable", []), ONE_AT_A_TIME // 10, _hook(penstock, "bench_durable"))


async def _side_by_side(penstock: Orchestrator, figures: Figures, rounds: int) -> None:
    for _ in range(rounds):
        for hook in ("bench_bare", "bench_durable"):
            call, latencies = _hook(penstock, hook), figures.setdefault(f"{hook} latency", [])
            begun = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(IN_FLIGHT):
                    group.create_task(_timed(latencies, SIDE_BY_SIDE // IN_FLIGHT, call))
            figures.setdefault(f"{hook} seconds", []).append((time.perf_counter() - begun) / SIDE_BY_SIDE)


async def _section(
    measure: Callable[[Orchestrator, Figures, int], Awaitable[None]], rounds: int, state: Path
) -> Figures:
    figures: Figures = {}
    with Store(default_store_root()) as store:
        async with Orchestrator(load(FILE), store, state=state) as penstock:
            # A first start compiles bytecode in the background; that would measure the compiler.
            await asyncio.to_thread(store.settle, SETTLE_SECONDS)
            for hook in ("bench_bare", "bench_guarded", "bench_durable"):
                await _timed([], ONE_AT_A_TIME, _hook(penstock, hook))
            await measure(penstock, figures, rounds)
    return figures


def _run(rounds: int, state: Path) -> Figures:
    """One at a time on one CPU, host and worker in turn; 32 at once on all."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cpus)})
    try:
        alone = uvloop.run(_section(_one_at_a_time, rounds, state))
    finally:
        os.sched_setaffinity(0, cpus)
    return alone | uvloop.run(_section(_side_by_side, rounds, state))


def _table(figures: Figures) -> Table:
    table = Table(title=f"one stage, payload of {len(SMALL)} bytes; medians of interleaved batches")
    for heading in ("what", "this", "without", "ratio", "more", "aim"):
        table.add_column(heading, justify="left" if heading == "what" else "right", no_wrap=True)

    def row(what: str, ours: float, theirs: float, most: float | None = None) -> None:
        more = (ours - theirs) * 1e6
        colour = "" if most is None else "[green]" if more <= most else "[red]"
        aim = "" if most is None else f"at most {most:g} us"
        figures = (f"{ours * 1e6:.1f} us", f"{theirs * 1e6:.1f} us", f"{ours / theirs:.2f}x", f"{colour}{more:.1f} us")
        table.add_row(what, *figures, aim)

    def median(name: str) -> float:
        return statistics.median(figures[name])

    def late(name: str) -> float:
        return statistics.quantiles(figures[name], n=100)[98]

    row("breaker and retry policy, one CPU: p50", median("bench_guarded"), median("bench_bare"), MOST_MICROSECONDS)
    row("durable, one at a time: p50", median("bench_durable"), median("bench_bare"))
    row("durable, 32 in flight: p50", median("bench_durable latency"), median("bench_bare latency"))
    row("durable, 32 in flight: p99", late("bench_durable latency"), late("bench_bare latency"))
    row("durable, 32 in flight: time a run", median("bench_durable seconds"), median("bench_bare seconds"))
    return table


def main() -> None:
    """Run both sections and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="batches of each contender")
    parser.add_argument("--state", type=Path, help="where to make the journal's folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.state) as folder:
        figures = _run(options.rounds, Path(folder))
    console = Console(width=120)
    console.print(_table(figures))
    durable, bare = (1 / statistics.median(figures[f"bench_{name} seconds"]) for name in ("durable", "bare"))
    console.print(f"{durable:,.0f} durable runs a second, {bare:,.0f} that are not")


if __name__ == "__main__":
    main()
