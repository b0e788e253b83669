"""All that watches one host: its logbook, its meters and its taps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.clock import Clock
from orchestrator.lookout.logbook import Logbook
from orchestrator.lookout.meter import Meters
from orchestrator.lookout.taps import Taps

__all__ = ["Lookout"]


class Lookout:
    """`opened_at` is in seconds since 1970; `hang` lets taps see the runs that begin from now on, as with Taps."""

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop, hang: Callable[[Taps | None], None]) -> None:
        self.opened_at = clock.wall()
        self.logbook = Logbook(clock.wall, loop.call_soon_threadsafe)
        self.meters = Meters()
        self.taps = Taps(hang)
