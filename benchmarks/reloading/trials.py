"""A canary that is broken, at 1,000 calls a second: how many calls fail until it is ended by itself."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from isolation.store.store import Store
from orchestrator.events import CanaryAborted, Event
from orchestrator.loading import load
from orchestrator.orchestrator import Orchestrator
from orchestrator.revisions.history import Outcome

__all__ = ["FAILS_HALF", "SLOW", "Ended", "Trials", "trials"]

PERCENT = 5.0
CALLERS = 10_000
"""Of so many different callers each sticks to one side."""

IN_FLIGHT = 32
"""Where calls are not offered by the clock."""

CATCH_UP_SECONDS = 0.02
"""So far behind the clock calls may be and still be made up for."""

END_SECONDS = 60.0
"""A trial that took no call more is over long before."""

HALF_OF_THEM = "sum(call.payload['name'].encode()) % 2"
FAILS_HALF = f"if {HALF_OF_THEM}: raise RuntimeError('broken')"
SLOW = "time.sleep(0.01)"

_CODE = """\
import time
from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("look")
def look(call):
    {body}
"""
_MANIFEST = """\
[tool.penstock]
name = "looker"
version = "1.0.0"

[tool.penstock.stages.look]
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a canary ended: calls denied in all, calls of both sides until it took none, and after how many seconds.

    `reason` is empty where it was not ended.
    """

    denied: int
    calls: int
    seconds: float
    reason: str


@dataclass
class Trials:
    """A host whose one stage has a split. Use `trials`."""

    served: Path
    inside: Orchestrator

    async def broken(self, body: str, seed: int, most_calls: int, per_second: float | None = None) -> Ended:
        """Put a canary on trial and ask until it is ended, by the clock or with calls in flight all the time."""
        aborted: asyncio.Future[CanaryAborted] = asyncio.get_running_loop().create_future()
        silence = self.inside.events.subscribe(lambda event: _tell(aborted, event), (CanaryAborted,))
        try:
            _save(self.served, f"{body}  # {seed}")
            applied = await self.inside.revisions.apply("uid:0")
            assert applied.outcome is Outcome.CANARY, applied
            begun = time.monotonic()
            denied, calls = await self._asked(random.Random(seed), most_calls, per_second)
            seconds = time.monotonic() - begun
            if self.inside.engine.split is not None:
                await self.inside.revisions.abort("uid:0", "it was not ended by itself")
                return Ended(denied, calls, seconds, "")
            async with asyncio.timeout(END_SECONDS):
                return Ended(denied, calls, seconds, (await aborted).reason)
        finally:
            silence()

    async def _asked(self, draw: random.Random, most_calls: int, per_second: float | None) -> tuple[int, int]:
        denied, due, room = 0, time.monotonic(), asyncio.Semaphore(IN_FLIGHT)

        async def ask() -> None:
            nonlocal denied
            result = await self.inside.invoke("ask", {"name": f"caller {draw.randrange(CALLERS)}"})
            denied += result.verdict == "deny"
            room.release()

        calls = 0
        async with asyncio.TaskGroup() as group:
            while calls < most_calls and self.inside.engine.split is not None:
                if per_second is None:
                    await room.acquire()
                else:
                    # A stall is not made up for at once: that would be a burst, and measure the bulkhead.
                    due = max(due + 1 / per_second, time.monotonic() - CATCH_UP_SECONDS)
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(ask())
                calls += 1
        return denied, calls


def _tell(aborted: asyncio.Future[CanaryAborted], event: Event) -> None:
    if isinstance(event, CanaryAborted) and not aborted.done():
        aborted.set_result(event)


@asynccontextmanager
async def trials(folder: Path) -> AsyncIterator[Trials]:
    """Serve the one stage, sound."""
    served = folder / "served"
    (served / "looker").mkdir(parents=True)
    (served / "looker" / "pyproject.toml").write_text(_MANIFEST)
    (served / "pipeline.yaml").write_text(json.dumps(_document()))
    _save(served, "pass")
    with Store(folder / "store", offline=True) as store:
        async with Orchestrator(load(served), store, state=folder / "state", keeps_history=True) as inside:
            yield Trials(served, inside)


def _save(served: Path, body: str) -> None:
    (served / "looker" / "plugin.py").write_text(_CODE.format(body=body))


def _document() -> dict[str, object]:
    split = {"canary": PERCENT, "key": "payload.name"}
    return {
        "version": 1,
        "name": "trials",
        "hooks": {"ask": {"summary": "A question", "payload": {"name": "string"}, "can_deny": True}},
        "plugins": {"looker": {"source": "./looker"}},
        "pipelines": {"only": {"hook": "ask", "stages": {"look": {"uses": "looker/look", "split": split}}}},
    }
