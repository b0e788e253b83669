"""The soak: calls without a pause while changes are made, and while as much CPU is burnt for nothing."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reloading.burden import Burners, burning, cpu_seconds
from reloading.callers import Callers, calling
from reloading.changes import Changes, Made
from reloading.hosts import Serving
from reloading.scene import Scene
from reloading.script import Wish

__all__ = ["Cost", "Soak", "Span", "costs_of", "soak"]

Tick = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one change takes of a host that has no calls."""

    cpu_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Span:
    """While something went on, in seconds of the monotonic clock."""

    begun: float
    ended: float


@dataclass
class Soak:
    """What came of it. A change goes on from its wish until what it replaced is gone."""

    callers: Callers
    changes: Changes
    during_changes: list[Span] = field(default_factory=list)
    during_burning: list[Span] = field(default_factory=list)
    left: int = 0
    """Calls that the host still had when every caller was gone."""

    @property
    def surprises(self) -> list[Made]:
        """Changes of which something else came than should, and whatever was made that nobody wished."""
        return [made for made in self.changes.made if not made.right]

    def latencies(self, spans: Sequence[Span], hooks: Iterable[str]) -> list[float]:
        """In seconds, of the calls that were under way in any of the spans."""
        ends = [span.ended for span in spans]
        found = []
        for hook in hooks:
            latencies = self.callers.latencies[hook]
            for begun, ended in zip(latencies.begun, latencies.ended, strict=True):
                at = bisect_left(ends, begun)
                if at < len(spans) and ended >= spans[at].begun:
                    found.append(ended - begun)
        return found


async def costs_of(wishes: Sequence[Wish], folder: Path, serving: Serving, tick: Tick) -> list[Cost]:
    """Make every change on a host that has nothing else to do."""
    scene, costs = Scene(folder), []
    async with serving(scene) as host:
        changes = Changes(host, scene)
        await changes.begin()
        for wish in wishes:
            before = cpu_seconds(host.pid)
            made = await changes.make(wish)
            await changes.settled()
            costs.append(Cost(cpu_seconds(host.pid) - before, made.seconds))
            tick()
    return costs


async def soak(
    wishes: Sequence[Wish],
    calls: int,
    folder: Path,
    serving: Serving,
    tick: Tick = lambda: None,
    costs: Sequence[Cost] = (),
) -> Soak:
    """Spread the changes over so many calls. With `costs`, each is followed by its burning, over as many calls again.

    So both sides are measured in turns, on the same host, and a noisy neighbour hits both.
    """
    scene, each = Scene(folder), max(1, calls // len(wishes))
    async with serving(scene) as host, burning() as burners:
        changes = Changes(host, scene)
        await changes.begin()
        async with calling(host) as callers:
            found = Soak(callers, changes)
            for number, wish in enumerate(wishes):
                enough = callers.answered + each
                found.during_changes.append(await _changed(changes, wish))
                await callers.have_answers(enough)
                await callers.have_answers_anew()
                if costs:
                    enough = callers.answered + each
                    found.during_burning.append(await _burnt(burners, costs[number]))
                    await callers.have_answers(enough)
                tick()
        found.left = host.under_way()
    return found


async def _changed(changes: Changes, wish: Wish) -> Span:
    begun = time.monotonic()
    await changes.make(wish)
    await changes.settled()
    return Span(begun, time.monotonic())


async def _burnt(burners: Burners, cost: Cost) -> Span:
    begun = time.monotonic()
    await burners.burn(cost.cpu_seconds, cost.seconds)
    return Span(begun, time.monotonic())
