"""How much the engine adds to a call, as ratios against a bare pipe and against asyncio with json.

    uv run python benchmarks/spine.py [--rounds N]

Contenders take turns in small batches, so that a noisy neighbour hits all of them; each figure is the ratio of the
medians over all rounds. Absolute times are printed for orientation and mean nothing on another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from baselines import AsyncioEcho, LoopPingPong, PipePingPong
from http_door import HttpDoor

from isolation.store.store import Store, default_store_root
from orchestrator.door import admit_context, admit_payload
from orchestrator.loading import load
from orchestrator.orchestrator import Orchestrator

HERE = Path(__file__).parent
IN_FLIGHT = 32
SETTLE_SECONDS = 60.0


def _order(lines: int) -> bytes:
    """A tool call as gateways see them: an order with its lines, numbers and short texts nested three deep."""
    items = [
        {"sku": f"A-{n}", "qty": n % 7 + 1, "price": n * 1.25, "tags": ["new", "eu"], "ok": True} for n in range(lines)
    ]
    return json.dumps(
        {"name": "place_order", "args": {"customer": 4711, "items": items}}, separators=(",", ":")
    ).encode()


SMALL, LARGE = _order(13), _order(1350)
CONTEXT = b'{"request_id":"r-1","tenant":"acme"}'

Figures = dict[str, list[float]]
Batch = Callable[[], Awaitable[None]]


async def _latencies(into: list[float], count: int, call: Callable[[], Awaitable[object]]) -> None:
    for _ in range(count):
        begun = time.perf_counter()
        await call()
        into.append(time.perf_counter() - begun)


async def _seconds_per_call(into: list[float], count: int, call: Callable[[], Awaitable[object]]) -> None:
    async def stream() -> None:
        for _ in range(count // IN_FLIGHT):
            await call()

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(stream())
    into.append((time.perf_counter() - begun) / (count // IN_FLIGHT * IN_FLIGHT))


def _hook(penstock: Orchestrator, hook: str, payload: bytes) -> Callable[[], Awaitable[object]]:
    """A call from accepted bytes to the verdict."""
    body, context = admit_payload(payload), admit_context(CONTEXT)
    return lambda: penstock.invoke(hook, body, context)


def _through_the_door(penstock: Orchestrator, hook: str, payload: bytes) -> Callable[[], Awaitable[object]]:
    """A call from bytes that nobody has looked at yet."""
    return lambda: penstock.invoke(hook, payload, CONTEXT)


async def _uncounted(penstock: Orchestrator, into: list[float], call: Callable[[], Awaitable[object]]) -> None:
    """The same calls by a host that keeps no metrics."""
    told, penstock.engine.told = penstock.engine.told, lambda call: None
    await _latencies(into, 200, call)
    penstock.engine.told = told


async def _counting(penstock: Orchestrator, into: list[float]) -> None:
    """What a host does for its metrics when a call is answered, by itself."""
    call = penstock.engine.submit("bench_one", SMALL, CONTEXT)
    await call.reply
    for _ in range(10):
        begun = time.perf_counter()
        for _ in range(100):
            penstock.metrics.answered(call)
        into.append((time.perf_counter() - begun) / 100)


async def _one_cpu(penstock: Orchestrator, figures: Figures, rounds: int) -> None:
    one, chain = _hook(penstock, "bench_one", SMALL), _hook(penstock, "bench_chain", SMALL)
    door = _through_the_door(penstock, "bench_one", SMALL)
    line = SMALL + b"\n"
    request = HttpDoor.request("bench_one", SMALL, CONTEXT)
    async with HttpDoor(penstock) as http:
        await http.check(request)
        for _ in range(rounds):
            await _latencies(figures.setdefault("door_beside", []), 200, door)
            await _latencies(figures.setdefault("http", []), 200, lambda: http.call(request))
    with PipePingPong() as pipe, LoopPingPong() as loop:
        for _ in range(rounds):
            into = figures.setdefault("pipe", [])
            for _ in range(200):
                begun = time.perf_counter()
                pipe.call(line)
                into.append(time.perf_counter() - begun)
            await _latencies(figures.setdefault("loop", []), 200, lambda: loop.echo(line))
            await _latencies(figures.setdefault("one", []), 200, one)
            await _uncounted(penstock, figures.setdefault("one_uncounted", []), one)
            await _counting(penstock, figures.setdefault("count", []))
            await _latencies(figures.setdefault("door", []), 200, door)
            await _latencies(figures.setdefault("chain", []), 60, chain)


async def _both_cpus(penstock: Orchestrator, figures: Figures, rounds: int) -> None:
    contenders = {
        "many": _hook(penstock, "bench_one", SMALL),
        "many_plain": _hook(penstock, "bench_plain", SMALL),
        "many_door": _through_the_door(penstock, "bench_one", SMALL),
    }
    large = {
        "large": _hook(penstock, "bench_one", LARGE),
        "large_read": _hook(penstock, "bench_read", LARGE),
        "large_door": _through_the_door(penstock, "bench_one", LARGE),
    }
    small_request, large_request = (HttpDoor.request("bench_one", payload, CONTEXT) for payload in (SMALL, LARGE))
    async with AsyncioEcho() as echo, HttpDoor(penstock) as http:
        await http.check(small_request)
        contenders["many_http"] = lambda: http.call(small_request)
        large["large_http"] = lambda: http.call(large_request)
        contenders["echo_many"] = lambda: echo.call(SMALL)
        large["echo_large"] = lambda: echo.call(LARGE)
        for _ in range(rounds):
            for name, call in contenders.items():
                await _seconds_per_call(figures.setdefault(name, []), 1600, call)
            for name, call in large.items():
                await _latencies(figures.setdefault(name, []), 20, call)


async def _section(name: str, rounds: int) -> Figures:
    figures: Figures = {}
    with Store(default_store_root()) as store:
        async with Orchestrator(load(HERE), store) as penstock:
            # A first start compiles bytecode in the background; that would measure the compiler.
            await asyncio.to_thread(store.settle, SETTLE_SECONDS)
            await _warm_up(penstock)
            await (_one_cpu if name == "one-cpu" else _both_cpus)(penstock, figures, rounds)
    return figures


async def _warm_up(penstock: Orchestrator) -> None:
    for hook in ("bench_one", "bench_plain", "bench_read"):
        for _ in range(200):
            await penstock.invoke(hook, SMALL, CONTEXT)


def _run_section(name: str, rounds: int) -> Figures:
    """Run one section; its workers and baselines inherit the CPUs it is given."""
    cpus = os.sched_getaffinity(0)
    if name == "one-cpu":
        os.sched_setaffinity(0, {max(cpus)})
    try:
        return uvloop.run(_section(name, rounds))
    finally:
        os.sched_setaffinity(0, cpus)


ECHO = "asyncio + json"
ROWS = (
    # what, ours, theirs, who they are, aim (None: for orientation), whether more is better
    ("one stage, one at a time, one CPU: p50", "one", "pipe", "a bare pipe", 3.0, False),
    ("the same", "one", "loop", "a pipe on the loop", None, False),
    ("the same, door included", "door", "pipe", "a bare pipe", None, False),
    ("the same, counted for metrics", "one", "one_uncounted", "not counted", None, False),
    ("counting one run, by itself", "count", "one", "one stage", None, False),
    ("HTTP, one connection, one CPU: p50", "http", "door_beside", "the door in process", None, False),
    ("chain of five stages, one CPU: p50", "chain", "one", "one stage", 6.0, False),
    ("32 in flight, msgspec worker: calls/s", "many", "echo_many", ECHO, 2.5, True),
    ("the same, door included", "many_door", "echo_many", ECHO, None, True),
    ("the same over HTTP", "many_http", "many_door", "the door in process", None, True),
    ("32 in flight, stdlib worker: calls/s", "many_plain", "echo_many", ECHO, 1.0, True),
    ("100 KB never looked at: calls/s", "large", "echo_large", ECHO, 10.0, True),
    ("the same, door included", "large_door", "echo_large", ECHO, None, True),
    ("the same over HTTP", "large_http", "large_door", "the door in process", None, True),
    ("100 KB all read, nothing changed: calls/s", "large_read", "echo_large", ECHO, 5.0, True),
)


def _table(figures: Figures) -> Table:
    table = Table(title=f"payloads of {len(SMALL)} and {len(LARGE)} bytes; medians of interleaved batches")
    for heading in ("what", "against", "ratio", "aim", "this", "the other"):
        table.add_column(heading, justify="left" if heading in ("what", "against") else "right")
    for what, name, base, against, aim, rate in ROWS:
        ours, theirs = statistics.median(figures[name]), statistics.median(figures[base])
        ratio = theirs / ours if rate else ours / theirs
        bound = "" if aim is None else f"{'at least' if rate else 'at most'} {aim:g}x"
        met = aim is None or (ratio >= aim if rate else ratio <= aim)
        shown = f"[{'green' if met else 'red'}]{ratio:.2f}x"
        table.add_row(what, against, shown, bound, f"{ours * 1e6:.1f} us", f"{theirs * 1e6:.1f} us")
    return table


def main() -> None:
    """Run both sections and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="batches of each contender")
    rounds = parser.parse_args().rounds
    figures = _run_section("one-cpu", rounds) | _run_section("both", rounds)
    Console().print(_table(figures))


if __name__ == "__main__":
    main()
