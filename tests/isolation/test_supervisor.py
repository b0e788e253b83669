"""Replicas kept alive, given up and started again by hand: what is seen of it, and what callers get."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from living import PATIENCE_SECONDS, SEQUENTIAL, Gate, ask, run, serving, spec_of, until

from isolation.errors import PluginFailed, StartError, Stopping, WorkerLost
from isolation.generation import Generation
from isolation.status import (
    Degraded,
    Failed,
    GenerationEvent,
    Restarted,
    RestartScheduled,
    Stopped,
    WorkerEnded,
    WorkerNotStarted,
    WorkerReady,
)
from isolation.supervision import Intensity, State

NONE = Intensity(restarts=0)
NEVER_AGAIN = Intensity(restarts=100, first_seconds=600.0, longest_seconds=600.0)
"""After the first restart of a period, which comes at once, nobody waits for the next."""

BROKEN = "raise RuntimeError('no licence')"
LAST_WORDS = "these are my last words"


async def kill(generation: Generation) -> None:
    """End a worker from within a call, and wait until the end is known."""
    assert isinstance(await ask(generation, "die").error(), WorkerLost)


async def restart(generation: Generation) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await generation.restart()


# Over the intensity, and back.


def test_over_the_intensity_it_is_failed_and_visible_until_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "echo", "die")
        async with serving(spec, intensity=Intensity(restarts=1, first_seconds=0.0)) as generation:
            begun = generation.status
            assert (begun.state, begun.wanted, begun.ready, begun.unplanned_ends) == (State.RUNNING, 1, 1, 0)
            assert (begun.plugin, begun.digest, begun.reason, begun.last_exit) == ("living", spec.digest, "", None)
            for _ in range(2):
                await kill(generation)
            await until(lambda: generation.failure)
            status = generation.status
            assert (status.state, status.ready, status.unplanned_ends) == (State.FAILED, 0, 2)
            assert status.since > begun.since and "more often than its restart intensity allows" in status.reason
            assert status.last_exit is not None and status.last_exit.signal == signal.SIGKILL
            assert status.last_exit.stderr == LAST_WORDS
            refused = ask(generation, "echo")
            assert refused.ends == 1, "nothing was awaited"
            error = await refused.error()
            assert type(error) is PluginFailed and not error.sent and str(error) == status.reason
            await restart(generation)
            after = generation.status
            assert (after.state, after.ready, after.unplanned_ends, after.reason) == (State.RUNNING, 1, 0, "")
            await ask(generation, "echo").answer()
            await kill(generation)
            await ask(generation, "echo").answer()

    run(main())


def test_a_restart_that_cannot_start_leaves_it_failed_with_the_new_reason(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", "die"), intensity=NONE) as generation:
            await kill(generation)
            (tmp_path / "plugin.py").write_text(BROKEN)
            for _ in range(2):
                with pytest.raises(StartError, match="no licence"):
                    await restart(generation)
                assert generation.status.state is State.FAILED and "no licence" in generation.status.reason
                assert type(await ask(generation, "echo").error()) is PluginFailed
            (tmp_path / "plugin.py").write_text(SEQUENTIAL)
            await restart(generation)
            await ask(generation, "echo").answer()

    run(main())


def test_calls_wait_for_a_restart_that_is_under_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", "die"), intensity=NONE) as generation:
            await kill(generation)
            await until(lambda: generation.failure)
            restarting = asyncio.ensure_future(restart(generation))
            await until(lambda: generation.status.state is State.STARTING)
            call = ask(generation, "echo")
            await call.answer()
            await restarting

    run(main())


def test_a_waiter_that_gives_up_stops_no_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", "die"), intensity=NONE) as generation:
            await kill(generation)
            await until(lambda: generation.failure)
            impatient, patient = (asyncio.ensure_future(restart(generation)) for _ in range(2))
            await until(lambda: generation.status.state is State.STARTING)
            impatient.cancel()
            await patient
            assert impatient.cancelled() and len(generation.workers) == 1

    run(main())


# Replicas that are left.


def test_what_is_left_serves_on_and_a_restart_starts_only_what_is_missing(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", "die"), replicas=3, intensity=NONE) as generation:
            await kill(generation)
            await until(lambda: generation.status.state is State.DEGRADED)
            left = set(generation.workers)
            assert (generation.status.ready, generation.failure) == (2, None)
            for _ in range(10):
                await ask(generation, "echo").answer()
            await restart(generation)
            assert left < set(generation.workers) and len(generation.workers) == 3
            assert generation.status.state is State.RUNNING

    run(main())


def test_a_restart_that_cannot_start_leaves_what_serves_alone(tmp_path: Path) -> None:
    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "echo", "die")
        async with serving(spec, replicas=2, intensity=NEVER_AGAIN) as generation:
            (tmp_path / "plugin.py").write_text(BROKEN)
            await kill(generation)
            left = generation.workers
            with pytest.raises(StartError, match="no licence"):
                await restart(generation)
            assert generation.status.state is State.DEGRADED and generation.workers == left
            await ask(generation, "echo").answer()
            await kill(generation)
            assert type(await ask(generation, "echo").error()) is PluginFailed

    run(main())


def test_a_restart_of_what_runs_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo"), replicas=2) as generation:
            before = generation.workers
            await restart(generation)
            assert generation.workers == before and generation.status.state is State.RUNNING

    run(main())


# Pauses.


def test_a_restart_by_hand_ends_the_pause(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", "die"), intensity=NEVER_AGAIN) as generation:
            for _ in range(2):
                await kill(generation)
            waiting = ask(generation, "echo")
            await restart(generation)
            await waiting.answer()

    run(main())


def test_the_close_ends_the_pause(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", "die"), intensity=NEVER_AGAIN) as generation:
            for _ in range(2):
                await kill(generation)
            waiting = ask(generation, "echo")
        assert type(await waiting.error()) is Stopping
        assert generation.status.state is State.STOPPED

    run(main())


def test_giving_up_ends_the_pauses_of_the_others(tmp_path: Path) -> None:
    """One replica waits for its turn when the other ends once too often: nobody is left who could answer."""

    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "echo", "die")
        strict = Intensity(restarts=2, first_seconds=600.0, longest_seconds=600.0)
        async with serving(spec, replicas=2, intensity=strict) as generation:
            await kill(generation)
            await until(lambda: len(generation.workers) == 2)
            await kill(generation)
            assert generation.failure is None
            await kill(generation)
            assert type(await ask(generation, "echo").error()) is PluginFailed
            assert generation.status.state is State.FAILED

    run(main())


def test_a_start_that_began_before_the_restart_does_not_fail_it(tmp_path: Path) -> None:
    """Whoever mended the plugin asks for a restart while the last hopeless start is still under way."""
    read, mended = Gate(tmp_path, "read"), Gate(tmp_path, "mended")
    hopeless = f"open({str(read.path)!r}).close()\nopen({str(mended.path)!r}).close()\n{BROKEN}"

    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", "die")) as generation:
            (tmp_path / "plugin.py").write_text(hopeless)
            await kill(generation)
            await read.reached()
            (tmp_path / "plugin.py").write_text(SEQUENTIAL)
            restarting = asyncio.ensure_future(restart(generation))
            await until(lambda: generation.status.state is State.STARTING)
            await mended.reached()
            await restarting
            await ask(generation, "echo").answer()

    run(main())


# The end.


def test_what_is_stopped_cannot_be_restarted(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", "die"), intensity=NONE) as generation:
            await kill(generation)
            (tmp_path / "plugin.py").write_text("import threading\nthreading.Event().wait()")
            restarting = asyncio.ensure_future(restart(generation))
            await until(lambda: generation.status.state is State.STARTING)
        with pytest.raises(StartError, match="was stopped while it was starting"):
            await restarting
        with pytest.raises(StartError, match="is being stopped"):
            await generation.restart()

    run(main())


# Events.


def kinds(events: list[GenerationEvent]) -> list[type[GenerationEvent]]:
    return [type(event) for event in events]


def test_whoever_listens_is_told_of_everything_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        told: list[GenerationEvent] = []
        spec = spec_of(tmp_path, SEQUENTIAL, "echo", "die")
        intensity = Intensity(restarts=1, first_seconds=0.0)
        async with serving(spec, intensity=intensity, notify=told.append) as generation:
            (tmp_path / "plugin.py").write_text(BROKEN)
            await kill(generation)
            await until(lambda: Failed in kinds(told))
            (tmp_path / "plugin.py").write_text(SEQUENTIAL)
            await restart(generation)
            await generation.workers[0].stop()
            await until(lambda: kinds(told).count(WorkerReady) == 3)
        await until(lambda: Stopped in kinds(told))
        assert {(event.plugin, event.digest) for event in told} == {("living", spec.digest)}
        died, planned = [event for event in told if isinstance(event, WorkerEnded)][::2][:2]
        assert not died.planned and died.report.stderr == LAST_WORDS and planned.planned
        assert any(isinstance(event, WorkerNotStarted) and "no licence" in event.reason for event in told)
        order = [kind for kind in kinds(told) if kind is not WorkerEnded]
        assert order == [
            WorkerReady,
            RestartScheduled,
            WorkerNotStarted,
            Failed,
            WorkerReady,
            Restarted,
            RestartScheduled,
            WorkerReady,
            Stopped,
        ]

    run(main())


def test_whoever_listens_is_told_how_many_are_left(tmp_path: Path) -> None:
    async def main() -> None:
        told: list[GenerationEvent] = []
        spec = spec_of(tmp_path, SEQUENTIAL, "die")
        async with serving(spec, replicas=2, intensity=NONE, notify=told.append) as generation:
            await kill(generation)
            await until(lambda: Degraded in kinds(told))
            await kill(generation)
            await until(lambda: Failed in kinds(told))
        (degraded,) = (event for event in told if isinstance(event, Degraded))
        (failed,) = (event for event in told if isinstance(event, Failed))
        assert degraded.ready == 1 and degraded.reason == failed.reason

    run(main())


def test_a_listener_that_raises_hurts_nobody(tmp_path: Path) -> None:
    raised: list[object] = []

    def listen(event: GenerationEvent) -> None:
        raised.append(event)
        raise RuntimeError("a bug of whoever listens")

    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "echo", "die")
        async with serving(spec, intensity=Intensity(restarts=2), notify=listen) as generation:
            for _ in range(2):
                await kill(generation)
                await ask(generation, "echo").answer()
            await kill(generation)
            assert type(await ask(generation, "echo").error()) is PluginFailed
            await restart(generation)
            await ask(generation, "echo").answer()
        assert len(raised) >= 12

    run(main())
