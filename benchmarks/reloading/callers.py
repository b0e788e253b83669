"""Callers that never pause, and what they were answered: how many, how soon, and whether each is of one revision."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from reloading.hosts import Host
from reloading.scene import ALONE, ASK, Face, Look

__all__ = ["IN_FLIGHT", "Callers", "Latency", "calling"]

IN_FLIGHT = 32
AT_ONE_THAT_WAITS = 4
"""So many of the callers ask the hook whose plugin is replaced: its calls wait for that, by design."""

CALL_SECONDS = 60.0
"""A call that took longer would be lost: its pipelines must answer within 30 s each."""

_PAYLOAD = json.dumps({"name": "x", "args": {}}).encode()


class _Args(msgspec.Struct):
    said: list[tuple[str, str, int, int | None, str | None]]


class _Payload(msgspec.Struct):
    args: _Args


@dataclass(frozen=True, slots=True)
class Latency:
    """One call, in seconds of the monotonic clock."""

    hook: str
    begun: float
    ended: float


@dataclass(frozen=True, slots=True)
class _Seen:
    """One kind of answer: to which hook, what served when it was asked for, whose runs gave it, what it showed."""

    hook: str
    since: int
    revisions: frozenset[int]
    face: Face


@dataclass
class Callers:
    """Use `calling`. Everything is counted; what an answer should have shown is judged afterwards."""

    host: Host
    submitted: int = 0
    answered: int = 0
    lost: int = 0
    over: bool = False
    failed: Counter[str] = field(default_factory=Counter)
    latencies: list[Latency] = field(default_factory=list)
    _seen: Counter[_Seen] = field(default_factory=Counter)
    _awaited: int = 0
    _enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask_again_and_again(self, hook: str) -> None:
        """Be one of them."""
        while not self.over:
            await self._ask(hook)

    async def _ask(self, hook: str) -> None:
        since, begun = self.host.revision, time.monotonic()
        self.submitted += 1
        try:
            async with asyncio.timeout(CALL_SECONDS):
                answered = await self.host.call(hook, _PAYLOAD)
        except TimeoutError:
            self.lost += 1
            return
        except (OSError, ValueError) as error:  # the daemon hung up, or said what is no answer
            self.failed[repr(error)] += 1
            return
        self.latencies.append(Latency(hook, begun, time.monotonic()))
        self.answered += 1
        if self.answered == self._awaited:
            self._enough.set()
        if answered.verdict == "deny":
            self.failed[answered.why] += 1
        else:
            said = msgspec.json.decode(answered.payload, type=_Payload).args.said
            self._seen[_Seen(hook, since, answered.revisions, tuple(said))] += 1

    async def have_answered(self, calls: int) -> None:
        """Wait until so many calls were answered."""
        while self.answered < calls and not self.lost:
            self._awaited = calls
            self._enough.clear()
            await self._enough.wait()

    def mixed(self, looks: Mapping[int, Look]) -> Counter[str]:
        """Answers that are not what one revision says, one that served when the call came or later."""
        found: Counter[str] = Counter()
        for seen, count in self._seen.items():
            if not self._is_of_one(seen, looks):
                found[repr(seen)] += count
        return found

    @staticmethod
    def _is_of_one(seen: _Seen, looks: Mapping[int, Look]) -> bool:
        if len(seen.revisions) > 1:
            return False
        fitting = seen.revisions or looks.keys()
        return any(
            number >= seen.since and number in looks and looks[number].face(seen.hook) == seen.face
            for number in fitting
        )


@asynccontextmanager
async def calling(host: Host, in_flight: int = IN_FLIGHT) -> AsyncIterator[Callers]:
    """So many calls in flight while inside; leaving waits for their answers."""
    callers = Callers(host)
    waiting = max(1, in_flight * AT_ONE_THAT_WAITS // IN_FLIGHT)
    async with asyncio.TaskGroup() as group:
        for number in range(in_flight):
            group.create_task(callers.ask_again_and_again(ALONE if number < waiting else ASK))
        try:
            yield callers
        finally:
            callers.over = True
