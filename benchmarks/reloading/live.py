"""How soon a change is in service: from the save of a line to the first answer of the new code, and a rollback."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from reloading.changes import Changes
from reloading.hosts import Host
from reloading.scene import ASK, Scene

__all__ = ["Live", "live"]

_PAYLOAD = b'{"name":"x","args":{}}'


@dataclass
class Live:
    """Seconds. `apart` are those between two answers, which nobody could see less of."""

    save: list[float] = field(default_factory=list)
    rollback: list[float] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)


async def live(host: Host, scene: Scene, rounds: int, tick: Callable[[], None]) -> Live:
    """Save and roll back, one caller asking all the while."""
    changes, found = Changes(host, scene), Live()
    await changes.begin()
    for number in range(2, rounds + 2):
        before = scene.look.a
        begun = time.monotonic()
        scene.change(a=number)
        found.save.append(await _answered(host, number, begun, found.apart))
        await changes.settled()
        begun = time.monotonic()
        await host.command("rollback")
        found.rollback.append(await _answered(host, before, begun, found.apart))
        await host.command("apply")
        await changes.settled()
        tick()
    return found


async def _answered(host: Host, version: int, begun: float, apart: list[float]) -> float:
    """Seconds until an answer shows that version of `a`."""
    while True:
        asked = time.monotonic()
        answered = await host.call(ASK, _PAYLOAD)
        now = time.monotonic()
        apart.append(now - asked)
        if b'"a",%d,' % version in answered.payload:
            return now - begun
