"""How seldom the judge of a canary is wrong, and how soon it is right: a simulation with a seed, no process, no clock.

    uv run python benchmarks/canary.py [--lives N] [--calls N] [--seed N]

A life is one canary that takes a part of the calls. In the healthy worlds both sides are drawn alike, so that every
abort is wrong; in the others the canary is broken in one way, and the figures are its own calls, and the failed ones
of those, until it was aborted. Latencies are log-normal, those of the worlds with tails far more spread.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from orchestrator.reload.canary import CanaryJudge, Side


@dataclass(frozen=True, slots=True)
class World:
    """How calls come. `slower` is how many times as long the canary takes."""

    name: str
    percent: float = 5.0
    canary: float = 0.0
    stable: float = 0.0
    slower: float = 1.0
    spread: float = 0.5


HEALTHY = (
    World("never fails"),
    World("fails 0.5 %", canary=0.005, stable=0.005),
    World("fails 1 %, tails", canary=0.01, stable=0.01, spread=2.0),
    World("fails 10 %", canary=0.1, stable=0.1),
    World("fails 1 %, half of the calls", percent=50.0, canary=0.01, stable=0.01),
)
BROKEN = (
    World("fails half, stable never", canary=0.5),
    World("fails half, stable 5 %", canary=0.5, stable=0.05),
    World("fails half, half of the calls", percent=50.0, canary=0.5, stable=0.001),
    World("fails 5 %, stable 1 %", canary=0.05, stable=0.01),
    World("takes 3 times as long", slower=3.0),
)


@dataclass(frozen=True, slots=True)
class Life:
    """What became of one canary: its calls, those that failed, and whether it was aborted."""

    took: int
    failed: int
    aborted: bool


def lived(world: World, seed: str, calls: int) -> Life:
    """Draw the calls of one canary's life until they are over, or it is."""
    draw, judge = random.Random(seed), CanaryJudge()
    part = world.percent / 100
    took = failures = 0
    for _ in range(calls):
        is_canary = draw.random() < part
        failed = draw.random() < (world.canary if is_canary else world.stable)
        seconds = 0.02 * draw.lognormvariate(0.0, world.spread)
        took += is_canary
        failures += is_canary and failed
        side = Side.CANARY if is_canary else Side.STABLE
        if judge.finished(side, failed=failed, seconds=seconds * world.slower if is_canary else seconds):
            return Life(took, failures, True)
    return Life(took, failures, False)


def lives(world: World, count: int, calls: int, seed: int) -> Iterator[Life]:
    """So many canaries of one world, each with a seed of its own."""
    return (lived(world, f"{seed} {world.name} {number}", calls) for number in range(count))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", type=int, default=20, help="canaries of each world")
    parser.add_argument("--calls", type=int, default=100_000, help="calls of a life, both sides together")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    console = Console()
    healthy = Table("healthy canary", "lives", "wrongly aborted", title=f"{given.calls} calls each, seed {given.seed}")
    for world in HEALTHY:
        wrong = sum(life.aborted for life in lives(world, given.lives, given.calls, given.seed))
        healthy.add_row(world.name, str(given.lives), str(wrong))
    console.print(healthy)
    broken = Table("broken canary", "lives", "aborted", "its calls: median", "most", "failed: most")
    for world in BROKEN:
        found = list(lives(world, given.lives, given.calls, given.seed))
        took = [life.took for life in found]
        aborted = sum(life.aborted for life in found)
        most = max(life.failed for life in found)
        broken.add_row(
            world.name, str(given.lives), str(aborted), f"{statistics.median(took):.0f}", str(max(took)), str(most)
        )
    console.print(broken)


if __name__ == "__main__":
    main()
