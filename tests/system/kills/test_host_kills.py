"""The host is killed again and again in the midst of durable runs; whatever it was at, every run ends in a known way.

Real processes, a real journal, a plugin with effects outside. What happened is judged from the ledger of the effects,
from the journal, and from what callers had heard before their host died.
"""

from __future__ import annotations

import random
import statistics
import sys
from pathlib import Path

import pytest
from lives import Host, Told, World, hosts, left_over
from proof import Ledger, check, check_delivery, runs_of

STORMS = 2
BATCHES = 4
KILLS = 26
"""Of each batch; 208 in all."""

STARTUP_PART = 0.2
"""So many of the kills come before the host is ready."""

WORD_PART = 0.5
"""So many of the others come at once after a caller was told something: it must have been durable."""

MOST_ANSWERS = 12
LONGEST_SECONDS = 3.0
"""A host lives until its callers heard so many answers, or so long."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG is Linux's")


def doom(host: Host, draw: random.Random, startup_seconds: float) -> float:
    """One life and its end, at a random moment of its start or after it. Returns how long the start took."""
    began = host.begin(str(draw.getrandbits(32)))
    if draw.random() < STARTUP_PART:
        host.listen(draw.uniform(0.0, startup_seconds))
        host.kill()
        return startup_seconds
    took = host.ready() - began
    host.listen_to(draw.randrange(MOST_ANSWERS), LONGEST_SECONDS)
    if draw.random() < WORD_PART:
        host.listen_for(draw.choice(("heard", "confirmed")), LONGEST_SECONDS)
    else:
        host.listen(draw.uniform(0.0, 0.05))
    host.kill()
    return took


def calm_down(host: Host) -> None:
    """A life that recovers everything and ends by itself."""
    host.begin("calm")
    assert host.ended() == 0, "nothing may be left to do"


@pytest.mark.parametrize("storm", range(STORMS))
def test_every_run_of_a_killed_host_is_completed_undone_or_parked(storm: int, tmp_path: Path) -> None:
    world, told, draw = World(tmp_path), Told(), random.Random(storm)
    seconds = 1.0
    with hosts(world, told) as host:
        for _ in range(BATCHES):
            for _ in range(KILLS):
                seconds = doom(host, draw, seconds)
            calm_down(host)
            assert left_over(world) == []
            runs = runs_of(world.state)
            check(runs, Ledger.read(world.ledger), told)
            check_delivery(runs, told)
    report(storm, world, told)


def report(storm: int, world: World, told: Told) -> None:
    """Print what the story came to, and see that it was one."""
    runs = runs_of(world.state)
    statuses = [str(run.status) for run in runs.values()]
    after = sorted(float(str(line["after"])) for line in told.having("taken_up"))
    phases = {line["phase"] for line in told.having("taken_up")}
    print(
        f"storm {storm}: {BATCHES * KILLS} kills, {len(runs)} runs:",
        ", ".join(f"{statuses.count(name)} {name}" for name in sorted(set(statuses))),
        f"; {len(after)} taken up, {statistics.median(after) * 1000:.0f} ms after workers were ready at the median,",
        f"{after[-1] * 1000:.0f} ms at most",
    )
    assert set(statuses) == {"completed", "undone", "parked"}
    assert phases >= {"running", "confirming", "undoing"}
    assert any(line["really"] for line in told.having("confirmed"))
