"""Makes the changes of a script on a host, one after the other, each to its end, and knows what has to come of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from orchestrator.control.refusal import Refused
from reloading.burden import workers
from reloading.hosts import Host
from reloading.scene import Look, Scene
from reloading.script import Way, Wish

__all__ = ["Changes", "Made"]

CHANGE_SECONDS = 120.0
"""No change of a scene takes longer, on a machine that is busy with others."""

LOOK_SECONDS = 0.01
"""Between two looks at the history."""


@dataclass(frozen=True, slots=True)
class Made:
    """A change that was tried. `seconds` from its wish to its entry in the history."""

    wish: Wish
    seconds: float
    outcome: str
    reason: str

    @property
    def right(self) -> bool:
        """Whether it came of it what should."""
        return self.outcome == ("refused" if self.wish.broken else "applied")


@dataclass
class Changes:
    """`looks` is what every revision has to show; it has the first one, after `begin`."""

    host: Host
    scene: Scene
    looks: dict[int, Look] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)
    _before: Look = field(default_factory=Look)
    _last_at: float = 0.0
    _count: int = 1

    async def begin(self) -> None:
        """Learn what serves."""
        for entry in await self._news():
            self.looks[_number(entry)] = self.scene.look

    async def make(self, wish: Wish) -> Made:
        """Make one, and put right what was broken."""
        self._count += 1
        before, begun = self.scene.look, time.monotonic()
        wish.edit(self.scene, self._count)
        if wish.way in (Way.APPLIED, Way.AGAIN):
            await self._command("apply")
        elif wish.way is Way.BACK:
            await self._command("rollback")
        entries = await self._until_news()
        seconds = time.monotonic() - begun
        for entry in entries:
            if entry["outcome"] != "refused":
                self.looks[_number(entry)] = self._before if wish.way is Way.BACK else self.scene.look
            self.made.append(Made(wish, seconds, str(entry["outcome"]), str(entry["reason"])))
        if wish.broken:
            self.scene.show(self.scene.look)
            await self._command("apply")
        elif wish.way is not Way.BACK:
            self._before = before
        return self.made[-1]

    async def settled(self) -> None:
        """Wait until nothing drains, and as many workers are left as what serves needs."""
        async with asyncio.timeout(CHANGE_SECONDS):
            while await self._draining() or self._others_left():  # noqa: ASYNC110  a daemon is asked, nothing of it can be awaited
                await asyncio.sleep(LOOK_SECONDS)

    async def _draining(self) -> bool:
        status = await self.host.command("status")
        assert isinstance(status, dict)
        return bool(status["draining"])

    def _others_left(self) -> bool:
        return workers(self.host.pid) != self.looks[max(self.looks)].workers

    async def _command(self, name: str) -> None:
        with suppress(Refused):  # the history says so too
            await self.host.command(name)

    async def _until_news(self) -> list[dict[str, object]]:
        async with asyncio.timeout(CHANGE_SECONDS):
            while not (news := await self._news()):  # noqa: ASYNC110  as above
                await asyncio.sleep(LOOK_SECONDS)
        return news

    async def _news(self) -> list[dict[str, object]]:
        """What the history has that it had not at the last look, oldest first."""
        entries = await self.host.command("history", limit=10)
        assert isinstance(entries, list)
        news = [entry for entry in reversed(entries) if _at(entry) > self._last_at]
        self._last_at = max(map(_at, news), default=self._last_at)
        return news


def _at(entry: dict[str, object]) -> float:
    at = entry["at"]
    assert isinstance(at, float)
    return at


def _number(entry: dict[str, object]) -> int:
    number = entry["number"]
    assert isinstance(number, int)
    return number
