"""Time as the engine sees it: a monotonic clock and what is called later. Tests bring their own and never sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Alarm", "Clock", "LoopClock"]


class Alarm(Protocol):
    """Something that will be called."""

    def cancel(self) -> None:
        """Call it no more."""


class Clock(Protocol):
    """Seconds that only ever grow, and seconds since 1970 for what outlives the process."""

    def now(self) -> float:
        """The monotonic clock."""

    def wall(self) -> float:
        """Seconds since 1970."""

    def later(self, seconds: float, call: Callable[[], None]) -> Alarm:
        """Call once, after `seconds`."""


class LoopClock:
    """The clock of a running event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = time.monotonic
        self.wall = time.time
        self.later = loop.call_later
