"""Deadlines and cancellation with real workers: who is answered when, and what it costs the worker."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from living import (
    CONCURRENT,
    SEQUENTIAL,
    Gate,
    ask,
    run,
    serving,
    spec_of,
    until,
)

from isolation.errors import (
    DeadlineExceeded,
    WorkerLost,
)
from isolation.handshake import SEQUENTIAL_WINDOW
from isolation.supervision import Intensity

MANY = Intensity(restarts=100)


# Deadlines and cancellation, one call at a time.


def test_an_overrun_is_answered_at_once_and_the_worker_killed_later(tmp_path: Path) -> None:
    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "hang", "echo", kill_after_seconds=0.4)
        async with serving(spec, intensity=Intensity(restarts=0)) as generation:
            worker = generation.workers[0]
            call = ask(generation, "hang", within=0.1)
            error = await call.error()
            assert isinstance(error, DeadlineExceeded) and error.sent
            assert generation.workers == (worker,) and not worker.gone.done()
            report = await worker.gone
            assert report.signal == signal.SIGKILL and report.reason == "a call overran its deadline"
            await ask(generation, "echo").answer()
            assert generation.failure is None, "a planned kill does not count"

    run(main())


def test_a_call_behind_another_expires_alone(tmp_path: Path) -> None:
    """The oldest call still has time, so the worker is left to it."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate", "echo")) as generation:
            worker = generation.workers[0]
            gate = Gate(tmp_path)
            long, short = ask(generation, "gate", gate.payload), ask(generation, "echo", within=0.05)
            assert isinstance(await short.error(), DeadlineExceeded)
            late = ask(generation, "echo", within=0.3)  # expires after three times kill_after
            assert isinstance(await late.error(), DeadlineExceeded)
            await gate.reached()
            await long.answer()
            await until(lambda: worker.outstanding == 0)
            assert generation.workers == (worker,)

    run(main())


def test_a_cancelled_call_holds_its_place_until_it_is_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate", "echo")) as generation:
            worker = generation.workers[0]
            gate = Gate(tmp_path)
            given_up = ask(generation, "gate", gate.payload)
            generation.cancel(given_up)
            others = [ask(generation, "echo") for _ in range(SEQUENTIAL_WINDOW)]
            assert (worker.outstanding, generation.waiting) == (SEQUENTIAL_WINDOW, 1)
            await gate.reached()
            for call in others:
                await call.answer()
            assert given_up.ends == 0 and generation.workers == (worker,)

    run(main())


def test_a_cancelled_call_that_never_ends_costs_its_worker_at_the_deadline(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "hang", "echo")) as generation:
            given_up = ask(generation, "hang", within=0.1)
            generation.cancel(given_up)
            behind = ask(generation, "echo")
            assert isinstance(await behind.error(), WorkerLost)
            await ask(generation, "echo").answer()
            assert given_up.ends == 0

    run(main())


def test_a_call_that_is_cancelled_while_it_waits_is_never_sent(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate", "die", "echo")) as generation:
            gate = Gate(tmp_path)
            written = [ask(generation, "gate", gate.payload), *(ask(generation, "echo") for _ in range(3))]
            unsent = ask(generation, "die")
            generation.cancel(unsent)
            assert generation.waiting == 0
            await gate.reached()
            for call in [*written, ask(generation, "echo")]:
                await call.answer()
            assert unsent.ends == 0 and unsent.worker == ""

    run(main())


def test_a_call_that_waits_too_long_was_not_sent(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate")) as generation:
            gate = Gate(tmp_path)
            written = [ask(generation, "gate", gate.payload)]
            written += [ask(generation, "gate", gate.payload, within=0.05) for _ in range(SEQUENTIAL_WINDOW - 1)]
            error = await ask(generation, "gate", within=0.05).error()
            assert isinstance(error, DeadlineExceeded) and not error.sent
            await until(lambda: all(call.ends for call in written[1:]))
            await gate.reached()
            await written[0].answer()

    run(main())


def test_no_time_left_is_no_call(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo")) as generation:
            error = await ask(generation, "echo", within=0.0).error()
            assert isinstance(error, DeadlineExceeded) and not error.sent

    run(main())


# Deadlines and cancellation, many calls at once.


def test_cancelling_a_concurrent_call_tells_the_plugin(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, CONCURRENT, "nap", "seen")) as generation:
            worker = generation.workers[0]
            napping = ask(generation, "nap")
            generation.cancel(napping)
            await until(lambda: worker.outstanding == 0)
            assert (await ask(generation, "seen").answer())["out"] in ({"seen": []}, {"seen": ["cancelled"]})
            late = ask(generation, "nap", within=0.1)
            assert isinstance(await late.error(), DeadlineExceeded)
            await until(lambda: worker.outstanding == 0)
            assert "cancelled" in (await ask(generation, "seen").answer())["out"]["seen"]
            assert generation.workers == (worker,) and napping.ends == 0

    run(main())


def test_a_concurrent_overrun_drains_its_worker_and_siblings_finish(tmp_path: Path) -> None:
    async def main() -> None:
        spec = spec_of(tmp_path, CONCURRENT, "stubborn", "gate", "echo")
        async with serving(spec, intensity=Intensity(restarts=0)) as generation:
            old = generation.workers[0]
            gate = Gate(tmp_path)
            sibling, overrun = ask(generation, "gate", gate.payload), ask(generation, "stubborn", within=0.1)
            assert isinstance(await overrun.error(), DeadlineExceeded)
            await until(lambda: generation.workers not in ((), (old,)))
            assert not old.gone.done() and sibling.ends == 0
            other = ask(generation, "echo")
            await other.answer()
            assert other.worker == "living#2"
            await gate.reached()
            assert (await sibling.answer())["out"] == {"passed": True}
            assert (await old.gone).reason == "a call overran its deadline"

    run(main())


def test_a_loop_that_hangs_is_killed_with_its_siblings(tmp_path: Path) -> None:
    """It misses the ping that an overrun causes."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, CONCURRENT, "block", "nap", "echo")) as generation:
            sibling, overrun = ask(generation, "nap"), ask(generation, "block", within=0.1)
            assert isinstance(await overrun.error(), DeadlineExceeded)
            error = await sibling.error()
            assert isinstance(error, WorkerLost) and error.sent and error.report.reason == "missed a ping"
            await ask(generation, "echo").answer()

    run(main())


HANGING_LOOP = (
    CONCURRENT
    + """
@plugin.stage("gate_and_block")
async def gate_and_block(call):
    await asyncio.to_thread(lambda: open(call.payload["gate"]).close())
    threading.Event().wait()
"""
)


@pytest.mark.parametrize("drains", [False, True])
def test_a_loop_that_hangs_is_killed_long_before_any_deadline(tmp_path: Path, drains: bool) -> None:
    """Event loops are pinged while they are busy, and while they drain."""

    async def main() -> None:
        pings = {"ping_every_seconds": 0.05, "ping_within_seconds": 0.3}
        async with serving(spec_of(tmp_path, HANGING_LOOP, "gate_and_block", "nap", "echo", **pings)) as generation:
            gate, worker = Gate(tmp_path), generation.workers[0]
            calls = [ask(generation, "gate_and_block", gate.payload), ask(generation, "nap")]
            if drains:
                worker.drain()
            await gate.reached()
            for call in calls:
                error = await call.error()
                assert isinstance(error, WorkerLost) and error.report.reason == "missed a ping" and error.sent
            assert generation.status.unplanned_ends == (0 if drains else 1)
            await ask(generation, "echo").answer()

    run(main())


def test_a_loop_that_is_busy_and_answers_its_pings_lives_on(tmp_path: Path) -> None:
    async def main() -> None:
        spec = spec_of(tmp_path, CONCURRENT, "gate", ping_every_seconds=0.02, ping_within_seconds=10.0)
        async with serving(spec) as generation:
            gate, worker = Gate(tmp_path), generation.workers[0]
            call = ask(generation, "gate", gate.payload)
            await until(lambda: worker._ledger.issued >= 6)  # initialize, configure, the call, pings
            await gate.reached()
            await call.answer()
            assert generation.workers == (worker,)

    run(main())


def test_a_worker_that_is_being_stopped_is_not_pinged(tmp_path: Path) -> None:
    """Its stdin is closed, so that it could not hear it; the stop ladder alone bounds its end."""

    async def main() -> None:
        pings = {"ping_every_seconds": 0.1, "ping_within_seconds": 0.1}
        async with serving(spec_of(tmp_path, CONCURRENT, "stubborn", **pings)) as generation:
            worker, call = generation.workers[0], ask(generation, "stubborn")
            stopping = asyncio.ensure_future(worker.stop())
            await asyncio.wait([stopping], timeout=0.5)
            assert not worker.gone.done() and worker.owed == 1
            assert (await stopping).reason == "was stopped"
            assert isinstance(await call.error(), WorkerLost)

    run(main())
