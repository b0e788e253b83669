"""A generation whose workers die at random moments: every call still ends exactly once, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest
from living import CONCURRENT, SEQUENTIAL, Asked, descriptors, run, serving, spec_of

from isolation.errors import CallError, DeadlineExceeded, WorkerLost
from isolation.generation import Generation
from isolation.supervision import Intensity

CALLS = 400
RESTLESS = Intensity(restarts=10_000, first_seconds=0.0, longest_seconds=0.0)


def harass(generation: Generation, calls: list[Asked], chance: random.Random) -> None:
    """Do one of the things that callers, operators and kernels do."""
    act = chance.randrange(24)
    if act == 0 and generation.workers:
        os.kill(chance.choice(generation.workers).pid, signal.SIGKILL)
    elif act == 1 and generation.workers:
        chance.choice(generation.workers).drain()
    elif act <= 4:
        generation.cancel(chance.choice(calls))
    elif act <= 6:
        hanging = Asked("hang" if "hang" in generation.spec.stages else "nap", within=0.02)
        generation.submit(hanging)
        calls.append(hanging)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("source", [SEQUENTIAL, CONCURRENT], ids=["sequential", "concurrent"])
def test_every_call_ends_exactly_once(tmp_path: Path, source: str, seed: int) -> None:
    """An answer, an error that says why, or nothing for a caller that gave up."""

    async def main() -> None:
        chance, calls = random.Random(seed), list[Asked]()
        before = descriptors()
        spec = spec_of(tmp_path, source, "echo", "hang" if source is SEQUENTIAL else "nap", kill_after_seconds=0.02)
        async with serving(spec, replicas=3, intensity=RESTLESS) as generation:
            for _ in range(CALLS):
                call = Asked("echo", {"q": "x" * chance.randrange(20_000)})
                calls.append(call)
                generation.submit(call)
                harass(generation, calls, chance)
                if chance.randrange(4) == 0:
                    await asyncio.sleep(0)
            for call in calls:
                if not call.settled:
                    await call.end()
            last = Asked("echo")
            generation.submit(last)
            await last.end()
        ends = [call.future.result() for call in calls if call.ends]
        assert all(call.settled for call in calls) and all(call.ends <= 1 for call in calls)
        assert all(isinstance(end, (DeadlineExceeded, WorkerLost)) for end in ends if isinstance(end, CallError))
        assert sum(isinstance(end, bytes) for end in ends) > 0
        assert descriptors() == before

    run(main())
