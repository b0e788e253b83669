"""How long callers miss a worker that was killed: from `kill -9` to the first call that succeeds.

    uv run python benchmarks/kills.py [--kills N]

32 calls are in flight all the time. Only calls that were submitted after the kill count, so that no answer which was on
its way already makes the figure pretty. A bare start of the same interpreter, timed before each kill in the same run,
says what this machine can do: a call is not answered by a new worker before that.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from isolation.call import Call
from isolation.errors import CallError, Stopping
from isolation.generation import Generation
from isolation.protocol.messages import Invocation, envelope
from isolation.spec import WorkerSpec, child_environment
from isolation.supervision import Intensity

PLUGIN = Path(__file__).parent / "plugins" / "echo_stdlib"
IN_FLIGHT = 32
DEADLINE_SECONDS = 30.0
RESTLESS = Intensity(restarts=1_000_000, first_seconds=0.0, longest_seconds=0.0)
BARE = [sys.executable, "-I", "-S", "-c", "print(flush=True)"]


class Stream(Call):
    """One call after the other: each end submits the next. `succeeded` is told when the call that did was submitted."""

    def __init__(self, generation: Generation, succeeded: Callable[[float], None]) -> None:
        invocation = Invocation(
            envelope("pass_through", "tool_pre_invoke", "c1"), b"run", b"run/s", b"{}", b"{}", b"{}"
        )
        self.begun = time.monotonic()
        super().__init__(invocation, self.begun + DEADLINE_SECONDS)
        self._generation = generation
        self._succeeded = succeeded

    def answered(self, result: msgspec.Raw) -> None:
        self._succeeded(self.begun)
        self._next()

    def failed(self, error: CallError) -> None:
        if not isinstance(error, Stopping):
            self._next()

    def _next(self) -> None:
        # Not within the answer: a generation that fails calls at once would never come to an end.
        asyncio.get_running_loop().call_soon(self._generation.submit, Stream(self._generation, self._succeeded))


class FirstSuccess:
    """The first success of a call that was submitted after a moment."""

    def __init__(self) -> None:
        self._after = float("inf")
        self._come: asyncio.Future[float] | None = None

    def succeeded(self, begun: float) -> None:
        if begun > self._after and self._come is not None and not self._come.done():
            self._come.set_result(time.monotonic())

    async def after(self, moment: float) -> float:
        """Seconds from `moment` to it."""
        self._after, self._come = moment, asyncio.get_running_loop().create_future()
        return await self._come - moment


def _spec() -> WorkerSpec:
    return WorkerSpec(
        plugin="echo",
        plugin_name="echo-stdlib",
        version="1.0.0",
        python=Path(sys.executable),
        root=PLUGIN,
        stages=("pass_through",),
        digest="0" * 64,
        entry="plugin:plugin",
        environment=child_environment(os.environ),
        site=False,
    )


def _bare_seconds() -> float:
    begun = time.monotonic()
    with subprocess.Popen(BARE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        return time.monotonic() - begun


async def _measure(replicas: int, kills: int, tick: Callable[[], None]) -> tuple[list[float], list[float]]:
    """Seconds to the first success after each kill, and of a bare start before it."""
    chance, first = random.Random(0), FirstSuccess()
    seconds: list[float] = []
    bare: list[float] = []
    async with Generation(_spec(), {"c1": {"with": {}}}, replicas=replicas, intensity=RESTLESS) as generation:
        for _ in range(IN_FLIGHT):
            generation.submit(Stream(generation, first.succeeded))
        for _ in range(kills):
            bare.append(await asyncio.to_thread(_bare_seconds))
            await first.after(time.monotonic())
            moment = time.monotonic()
            os.kill(chance.choice(generation.workers).pid, signal.SIGKILL)
            seconds.append(await first.after(moment))
            tick()
    return seconds, bare


def main() -> None:
    """Measure with a sibling and without one, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300, help="kills for each row")
    kills = parser.parse_args().kills
    logging.getLogger("penstock").setLevel(logging.CRITICAL)
    table = Table(title=f"{kills} kills each, {IN_FLIGHT} calls in flight: kill to first success")
    for heading in ("replicas", "median", "p90", "max", "median against a bare start", "a bare start"):
        table.add_column(heading, justify="right")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for replicas in (2, 1):
            shown = progress.add_task(f"{replicas} replicas", total=kills)
            seconds, bare = uvloop.run(_measure(replicas, kills, partial(progress.advance, shown)))
            middle, start = statistics.median(seconds), statistics.median(bare)
            figures = [middle, statistics.quantiles(seconds, n=10)[-1], max(seconds)]
            shares = [f"{figure * 1e3:.1f} ms" for figure in figures]
            table.add_row(str(replicas), *shares, f"{middle / start:.2f}x", f"{start * 1e3:.1f} ms")
    Console().print(table)


if __name__ == "__main__":
    main()
