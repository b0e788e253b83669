"""Workers killed again and again under load: every call ends exactly once, service comes back, nothing is left."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop

from isolation.call import Call
from isolation.errors import CallError, ExitReport, PluginFailed, WorkerLost
from isolation.generation import Generation
from isolation.protocol.messages import Invocation, envelope
from isolation.spec import WorkerSpec, child_environment
from isolation.status import Failed, GenerationEvent, WorkerEnded, WorkerReady
from isolation.supervision import Intensity, State
from isolation.worker import Worker

KILLS = 300
CALLERS = 32
PATIENCE_SECONDS = 15.0
"""Bounds every wait for what should come at once, on a machine that is busy with other tests."""
RESTLESS = Intensity(restarts=10 * KILLS, first_seconds=0.0, longest_seconds=0.0)
CONFIGS: dict[str, object] = {"c1": {"with": {}, "secrets": {}}}

PLUGIN = """
import os, select
from penstock_plugin import Plugin

plugin = Plugin()

@plugin.stage("act")
def act(call):
    select.select([], [], [], 0.001)  # so that a kill finds calls in the worker, not only on their way
    return call.modify(call.payload)

@plugin.stage("crash")
def crash(call):
    os.abort()
"""


class Asked(Call):
    """A call whose end can be awaited; `ends` counts how often it ended."""

    def __init__(self, stage: str) -> None:
        invocation = Invocation(envelope(stage, "tool_pre_invoke", "c1"), b"run", b"run/s", b"{}", b"{}", b"{}")
        super().__init__(invocation, time.monotonic() + PATIENCE_SECONDS)
        self.end: asyncio.Future[bytes | CallError] = asyncio.get_running_loop().create_future()
        self.ends = 0

    def answered(self, result: msgspec.Raw) -> None:
        self._ended(bytes(result))

    def failed(self, error: CallError) -> None:
        self._ended(error)

    def _ended(self, end: bytes | CallError) -> None:
        self.ends += 1
        if not self.end.done():
            self.end.set_result(end)


def asked(generation: Generation, stage: str) -> Asked:
    """Submit one call."""
    call = Asked(stage)
    generation.submit(call)
    return call


class Told:
    """What a generation told, and whoever waits for it to be told something."""

    def __init__(self) -> None:
        self.events: list[GenerationEvent] = []
        self._heard = asyncio.Event()

    def __call__(self, event: GenerationEvent) -> None:
        self.events.append(event)
        self._heard.set()

    def ended(self) -> dict[str, ExitReport]:
        """How workers ended that were not meant to."""
        return {event.worker: event.report for event in self.events if type(event) is WorkerEnded and not event.planned}

    def count(self, kind: type[GenerationEvent]) -> int:
        return sum(type(event) is kind for event in self.events)

    async def the_end_of(self, worker: Worker) -> None:
        await self.until(lambda: worker.name in self.ended())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._heard.clear()
                await self._heard.wait()


class Load:
    """Callers that ask one call after the other, until they are told to stop."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.calls: list[Asked] = []
        self.is_over = False
        self._left = 0
        self._enough = asyncio.Event()

    async def caller(self) -> None:
        while not self.is_over:
            call = asked(self.generation, "act")
            self.calls.append(call)
            if isinstance(await call.end, bytes):
                self._left -= 1
                if not self._left:
                    self._enough.set()

    async def succeed(self, count: int) -> None:
        """Wait until so many more calls have succeeded."""
        self._left = count
        self._enough.clear()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._enough.wait()


def spec_in(folder: Path) -> WorkerSpec:
    (folder / "plugin.py").write_text(PLUGIN)
    return WorkerSpec(
        plugin="mortal",
        plugin_name="mortal",
        version="1.0.0",
        python=Path(sys.executable),
        root=folder,
        stages=("act", "crash"),
        digest="0" * 64,
        entry="plugin:plugin",
        environment=child_environment(os.environ),
        site=False,
    )


def held() -> tuple[int, int, list[str]]:
    """What this process holds: descriptors, threads, children, dead ones included."""
    threads = len(os.listdir("/proc/self/task"))
    children = [Path(f"/proc/self/task/{thread}/children").read_text() for thread in os.listdir("/proc/self/task")]
    descriptors = sum(os.path.exists(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd"))
    return descriptors, threads, "".join(children).split()


def test_kills_under_load_lose_no_call_and_leave_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        chance, spec, told = random.Random(0), spec_in(tmp_path), Told()
        async with Generation(spec, CONFIGS):
            pass  # whatever the first worker of a process opens for good is open now
        before = held()
        async with Generation(spec, CONFIGS, replicas=2, intensity=RESTLESS, notify=told) as generation:
            load = Load(generation)
            async with asyncio.TaskGroup() as callers:
                for _ in range(CALLERS):
                    callers.create_task(load.caller())
                for _ in range(KILLS):
                    victim = chance.choice(generation.workers)
                    os.kill(victim.pid, signal.SIGKILL)
                    await told.the_end_of(victim)
                    await load.succeed(chance.randrange(1, 8))
                load.is_over = True
            assert (generation.status.owed, generation.waiting) == (0, 0)
            await told.until(lambda: told.count(WorkerReady) == KILLS + 2)
            assert generation.status.state is State.RUNNING
        assert held() == before

        assert len(told.ended()) == KILLS == sum(end.signal == signal.SIGKILL for end in told.ended().values())
        ends = [call.end.result() for call in load.calls]
        assert {call.ends for call in load.calls} == {1}
        assert {type(end) for end in ends} == {bytes, WorkerLost}
        # Of the calls of one worker only the oldest has an unknown outcome.
        begun = Counter(end.worker for end in ends if isinstance(end, WorkerLost) and end.sent)
        assert max(begun.values()) == 1 and set(begun) <= set(told.ended())

    uvloop.run(main())


def test_crashes_beyond_the_intensity_are_answered_at_once_until_a_restart(tmp_path: Path) -> None:
    """Two replicas and a plugin that aborts: the default intensity holds."""

    async def main() -> None:
        told, intensity = Told(), Intensity(first_seconds=0.001, longest_seconds=0.01)
        async with Generation(spec_in(tmp_path), CONFIGS, replicas=2, intensity=intensity, notify=told) as generation:
            while generation.failure is None:
                await asked(generation, "crash").end
            assert generation.status.state is State.FAILED
            refused = [asked(generation, "act") for _ in range(100)]
            assert {type(call.end.result()) for call in refused} == {PluginFailed}, "nothing was awaited"
            async with asyncio.timeout(PATIENCE_SECONDS):
                await generation.restart()
            assert len(generation.workers) == 2
            assert isinstance(await asked(generation, "act").end, bytes)
        assert {end.signal for end in told.ended().values()} == {signal.SIGABRT}
        assert intensity.restarts < len(told.ended()) <= intensity.restarts + 2
        assert told.count(Failed) == 1

    uvloop.run(main())
