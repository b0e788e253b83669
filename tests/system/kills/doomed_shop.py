"""Hosts that live to be killed, forked one after the other from a process that has everything imported.

    doomed_shop.py FILE STORE STATE

Each line of stdin begins a life. A number is the seed of one that calls for ever; a list of {hook, args} in JSON makes
these calls, side by side, and then does nothing; `full` and a number is like the first, but after a while its files may
grow no more; `calm` makes no calls and ends when nothing is left to do. A line `kill` ends a life by SIGKILL. On stdout
every life tells, as lines of JSON, what it saw; when it is over, a line {"ended": its wait status} follows. The lines
that a killed host wrote are what its callers really heard.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from isolation.store.store import Store
from orchestrator.events import Event, RunTakenUp
from orchestrator.generations import StartEvent
from orchestrator.loading import Loaded, load
from orchestrator.orchestrator import HookResult, Orchestrator

HOOKS = ("chained", "branched", "keyed", "confirmed", "confirmed", "recorded", "doubled", "doubled")
CALLERS = 8
KEYS = 60
CALM_SECONDS = 60.0
"""Longer than any run with all its undos."""

FULL_AFTER_SECONDS = 1.5
ROOM_BYTES = 50_000
"""A few events more, so that the end comes in the midst of runs."""

TROUBLES = ("fail", "fail once", "retry once", "crash once", "crash_after once", "crash_after")
UNDO_TROUBLES = ("fail once", "retry once", "crash once", "crash_after once", "fail")


def say(**words: object) -> None:
    """Tell the parent, in one write: a line is there whole or not at all."""
    os.write(1, json.dumps(words).encode() + b"\n")


class Caller:
    """Makes calls one after the other, with a chance of trouble, and tells what it hears."""

    def __init__(self, penstock: Orchestrator, draw: random.Random) -> None:
        self._penstock = penstock
        self._draw = draw

    async def call_for_ever(self) -> None:
        """One call after the other."""
        while True:
            await self._call()

    async def call(self, hook: str, args: dict[str, object]) -> None:
        """One call."""
        self._tell(hook, None, await self._penstock.invoke(hook, {"name": "order", "args": args}))

    async def _call(self) -> None:
        draw = self._draw
        hook = draw.choice(HOOKS)
        key = None
        if hook == "keyed":
            key = f"k{draw.randrange(KEYS)}"
        elif hook == "doubled":
            key = f"once {draw.getrandbits(64)}"
        payload = {"name": "order", "args": self._order(random.Random(key) if key else draw)}
        patience = draw.uniform(0.0, 0.2) if draw.random() < 0.05 else None
        # As `Orchestrator.invoke` does it, but that we tell what we heard before the run hears that we have.
        call = self._penstock.engine.submit(hook, payload, idempotency_key=key)
        try:
            async with asyncio.timeout(patience):
                result = HookResult(await call.reply)
        except TimeoutError:
            call.abandon()
            return
        self._tell(hook, key, result)
        call.delivered()
        await self._after(hook, result)

    def _tell(self, hook: str, key: str | None, result: HookResult) -> None:
        code = result.reply.violation.code if result.reply.violation is not None else None
        say(heard=result.verdict, hook=hook, key=key, code=code, runs=[run.id for run in result.reply.runs])

    async def _after(self, hook: str, result: HookResult) -> None:
        draw = self._draw
        if result.verdict == "deny":
            return
        for run in result.lasting:
            if hook == "confirmed" and draw.random() < 0.8:
                say(confirmed=run.id, really=await self._penstock.confirm(run.id))
            elif hook == "chained" and draw.random() < 0.1:
                await self._penstock.settled(run)
                # It has begun when `compensate` returns, and is durable when the run is over.
                await self._penstock.settled(await self._penstock.compensate(run.id))
                say(compensated=run.id)

    def _order(self, draw: random.Random) -> dict[str, object]:
        trouble = {}
        for stage in ("reserve", "charge", "notify"):
            if draw.random() < 0.08:
                trouble[stage] = draw.choice(TROUBLES)
        for stage in ("release", "refund"):
            if draw.random() < 0.15:
                trouble[stage] = draw.choice(UNDO_TROUBLES)
        if draw.random() < 0.004:
            trouble["charge"] = "hang once"
        return {
            "quantity": 99 if draw.random() < 0.05 else 1,
            "amount": 300 if draw.random() < 0.1 else 10,
            "later": 300 if draw.random() < 0.4 else 10,
            "trouble": trouble,
        }


class Life:
    """One host, from its start to its end."""

    def __init__(self, loaded: Loaded, store: Store, state: Path) -> None:
        self.ended = asyncio.Event()
        self.ready_at = 0.0
        self.penstock = Orchestrator(loaded, store, report=self._report, state=state)
        self.penstock.events.subscribe(self._hear)

    def _report(self, event: StartEvent) -> None:
        if event.phase == "ready":  # of its files, and later of its workers
            self.ready_at = time.monotonic()

    def _hear(self, event: Event) -> None:
        self.ended.set()
        if isinstance(event, RunTakenUp):
            say(taken_up=event.run, phase=event.phase, after=time.monotonic() - self.ready_at)

    async def storm(self, seed: int) -> None:
        """Call until somebody kills us."""
        draw = random.Random(seed)
        async with self.penstock, asyncio.TaskGroup() as group:
            say(ready=True)
            for _ in range(CALLERS):
                group.create_task(Caller(self.penstock, random.Random(draw.random())).call_for_ever())

    async def full(self, seed: int) -> None:
        """The same, and after some runs no file of the host may grow any more: its workers' may."""
        asyncio.get_running_loop().call_later(FULL_AFTER_SECONDS, self._fill)
        await self.storm(seed)

    def _fill(self) -> None:
        size = (self.penstock.state / "journal.db-wal").stat().st_size
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + ROOM_BYTES, hard))
        say(full=size)

    async def these(self, calls: list[dict[str, Any]]) -> None:
        """Make these calls, and wait for whoever kills us."""
        async with self.penstock, asyncio.TaskGroup() as group:
            say(ready=True)
            for call in calls:
                group.create_task(Caller(self.penstock, random.Random(0)).call(**call))
            await asyncio.Event().wait()

    async def calm(self) -> None:
        """Recover what there is."""
        async with self.penstock:
            say(ready=True)
            async with asyncio.timeout(CALM_SECONDS):
                while self.penstock.engine.open:
                    self.ended.clear()
                    await self.ended.wait()


def live(line: str, loaded: Loaded, root: Path, state: Path) -> None:
    """A life's whole process."""

    async def main() -> None:
        with Store(root, offline=True, background_bytecode=False) as store:
            life = Life(loaded, store, state)
            kind, _, seed = line.partition(" ")
            if kind == "calm":
                await life.calm()
            elif kind == "full":
                await life.full(int(seed))
            elif kind.isdigit():
                await life.storm(int(kind))
            else:
                await life.these(json.loads(line))

    asyncio.run(main())


def fork(line: str, loaded: Loaded, root: Path, state: Path) -> int:
    """Begin a life; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    live(line, loaded, root, state)
    os._exit(0)  # what goes wrong before ends this process as any other, with a traceback


def main() -> None:
    """Let lives follow one another until stdin ends."""
    file, root, state = map(Path, sys.argv[1:])
    loaded = load(file)
    for line in iter(sys.stdin.readline, ""):
        pid = fork(line.strip(), loaded, root, state)
        say(began=pid)
        ended = os.pidfd_open(pid)
        if sys.stdin in select.select([sys.stdin, ended], [], [])[0]:
            sys.stdin.readline()  # `kill`, or the end of a parent that is gone
            os.kill(pid, signal.SIGKILL)
        os.close(ended)
        say(ended=os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main()
