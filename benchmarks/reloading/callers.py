"""Callers that never pause, and what they were answered: how many, how soon, and whether each is of one revision."""

from __future__ import annotations

import asyncio
import json
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from reloading.hosts import Host
from reloading.scene import ALONE, ASK, Face, Look

__all__ = ["IN_FLIGHT", "Callers", "Latencies", "Seen", "calling"]

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
class Latencies:
    """When calls began and ended, in seconds of the monotonic clock.

    As bare numbers: a hundred thousand objects would have the garbage collector stop the host that is measured.
    """

    begun: array[float] = field(default_factory=lambda: array("d"))
    ended: array[float] = field(default_factory=lambda: array("d"))


@dataclass(frozen=True, slots=True)
class Seen:
    """One kind of answer: to which hook, what served when it was asked for, whose runs gave it, what it showed.

    `revisions` is empty where the host does not tell.
    """

    hook: str
    since: int
    revisions: frozenset[int]
    face: Face

    def is_of_one(self, looks: Mapping[int, Look]) -> bool:
        """Whether it is what one revision says, one that served when the call came or later."""
        if len(self.revisions) > 1:
            return False
        fitting = self.revisions or looks.keys()
        return any(
            number >= self.since and number in looks and looks[number].face(self.hook) == self.face
            for number in fitting
        )


@dataclass
class Callers:
    """Use `calling`. Everything is counted; what an answer should have shown is judged afterwards."""

    host: Host
    of_hook: dict[str, int]
    """How many of them ask what."""
    submitted: int = 0
    lost: int = 0
    over: bool = False
    failed: Counter[str] = field(default_factory=Counter)
    latencies: dict[str, Latencies] = field(default_factory=lambda: defaultdict(Latencies))
    seen: Counter[Seen] = field(default_factory=Counter)
    _answered: Counter[str] = field(default_factory=Counter)
    _holds: Callable[[], bool] | None = None
    _held: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def answered(self) -> int:
        """Calls that got an answer, whichever."""
        return self._answered.total()

    async def ask_again_and_again(self, hook: str) -> None:
        """Be one of them."""
        while not self.over:
            await self._ask(hook)
            if self._holds is not None and (self.lost or self._holds()):
                self._held.set()

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
        self.latencies[hook].begun.append(begun)
        self.latencies[hook].ended.append(time.monotonic())
        self._answered[hook] += 1
        if answered.verdict == "deny":
            self.failed[answered.why] += 1
        else:
            said = msgspec.json.decode(answered.payload, type=_Payload).args.said
            self.seen[Seen(hook, since, answered.revisions, tuple(said))] += 1

    async def have_answers(self, calls: int) -> None:
        """Wait until there are so many answers in all."""
        await self._until(lambda: self.answered >= calls)

    async def have_answers_anew(self) -> None:
        """Wait until of each hook a call was answered that had not begun yet."""
        enough = {hook: self._answered[hook] + count + 1 for hook, count in self.of_hook.items()}
        await self._until(lambda: all(self._answered[hook] >= count for hook, count in enough.items()))

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, or a call is lost: what would be waited for may never come then."""
        if not holds():
            self._holds = holds
            self._held.clear()
            await self._held.wait()
            self._holds = None

    def mixed(self, looks: Mapping[int, Look]) -> Counter[str]:
        """Answers that are of no one revision, or of one that was gone when the call came."""
        return Counter({repr(seen): count for seen, count in self.seen.items() if not seen.is_of_one(looks)})


@asynccontextmanager
async def calling(host: Host, in_flight: int = IN_FLIGHT) -> AsyncIterator[Callers]:
    """So many calls in flight while inside; leaving waits for their answers."""
    waiting = max(1, in_flight * AT_ONE_THAT_WAITS // IN_FLIGHT)
    callers = Callers(host, {ALONE: waiting, ASK: in_flight - waiting})
    async with asyncio.TaskGroup() as group:
        for hook, count in callers.of_hook.items():
            for _ in range(count):
                group.create_task(callers.ask_again_and_again(hook))
        try:
            yield callers
        finally:
            callers.over = True
