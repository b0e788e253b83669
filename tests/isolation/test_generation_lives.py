"""The beginning and the end of a generation: nothing is left behind, whatever goes wrong in between."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from living import (
    CONFIGS,
    SEQUENTIAL,
    Gate,
    ask,
    descriptors,
    run,
    serving,
    spec_of,
    until,
)

from isolation.errors import (
    StartError,
    Stopping,
    WorkerLost,
)
from isolation.generation import Generation
from isolation.supervision import Intensity

MANY = Intensity(restarts=100)


def has_children() -> bool:
    """Whether this process has any child, a dead one included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


# Starting.


def test_the_first_start_that_fails_is_the_openers_error(tmp_path: Path) -> None:
    async def main() -> None:
        before = descriptors()
        with pytest.raises(StartError, match="boom"):
            async with Generation(spec_of(tmp_path, "raise RuntimeError('boom')", "echo"), CONFIGS, replicas=2):
                pytest.fail("it is not ready")
        assert descriptors() == before

    run(main())


def test_a_missing_interpreter_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "echo", python=tmp_path / "no" / "python")
        with pytest.raises(StartError, match=r"cannot start .*/no/python.*No such file"):
            async with Generation(spec, CONFIGS):
                pytest.fail("it is not ready")

    run(main())


def test_an_environment_that_no_process_can_have_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(StartError, match="null byte"):
            async with Generation(spec_of(tmp_path, SEQUENTIAL, "echo", environment={"A": "x\0y"}), CONFIGS):
                pytest.fail("it is not ready")

    run(main())


def test_closing_while_starting_leaves_nothing_behind(tmp_path: Path) -> None:
    async def main() -> None:
        before = descriptors()
        gate = Gate(tmp_path)
        source = SEQUENTIAL + f"\nopen({str(gate.path)!r}).close()\n"
        generation = Generation(spec_of(tmp_path, source, "echo"), CONFIGS, replicas=2)
        await generation.open()
        waiting = ask(generation, "echo")
        await gate.reached()
        await generation.close()
        with pytest.raises(StartError, match="was stopped"):
            await generation.started()
        assert type(await waiting.error()) is Stopping
        assert descriptors() == before

    run(main())


def test_giving_a_start_up_leaves_nothing_behind(tmp_path: Path) -> None:
    """The opener is cancelled while the plugin hangs in its import."""

    async def main() -> None:
        before = descriptors()
        source = "import threading\nthreading.Event().wait()\n"
        generation = Generation(spec_of(tmp_path, source, "echo"), CONFIGS)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), generation:
                pytest.fail("it is not ready")
        assert descriptors() == before
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_progress_while_starting_reaches_whoever_wants_it(tmp_path: Path) -> None:
    said: list[tuple[str, float | None]] = []

    def report(message: str, fraction: float | None) -> None:
        said.append((message, fraction))
        raise RuntimeError("a bug of whoever is told")

    async def main() -> None:
        source = SEQUENTIAL + (
            "\n@plugin.startup\ndef load(start):\n"
            "    start.progress('loading', done=1, total=4)\n    start.progress('much', done=9, total=4)\n"
            "    start.progress('done')\n"
        )
        async with Generation(spec_of(tmp_path, source, "echo"), CONFIGS, report=report) as generation:
            await ask(generation, "echo").answer()
            await until(lambda: len(said) == 3)
        assert said == [("loading", 0.25), ("much", 1.0), ("done", None)]

    run(main())


# The end.


def test_draining_a_worker_lets_it_finish_and_another_takes_over(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate", "echo")) as generation:
            old = generation.workers[0]
            gate = Gate(tmp_path)
            finishing = ask(generation, "gate", gate.payload)
            old.drain()
            after = ask(generation, "echo")
            await after.answer()
            assert after.worker == "living#2" and not old.gone.done()
            await gate.reached()
            await finishing.answer()
            report = await old.gone
            assert (report.status, report.reason) == (0, "drained")

    run(main())


def test_stopping_fails_what_waits_and_lets_what_runs_finish(tmp_path: Path) -> None:
    async def main() -> None:
        generation = Generation(spec_of(tmp_path, SEQUENTIAL, "gate", "echo"), CONFIGS)
        async with generation:
            gate = Gate(tmp_path)
            running = [ask(generation, "gate", gate.payload), *(ask(generation, "echo") for _ in range(3))]
            waiting = ask(generation, "echo")
            closing = asyncio.ensure_future(gate.reached())
        await closing
        error = await waiting.error()
        assert type(error) is Stopping and error.code == "penstock.shutdown" and not error.sent
        for call in running:
            await call.answer()
        late = ask(generation, "echo")
        assert type(await late.error()) is Stopping
        await generation.close()

    run(main())


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "deaf")) as generation:
            gate = Gate(tmp_path)
            call = ask(generation, "deaf", gate.payload)
            await gate.reached()
            worker = generation.workers[0]
        report = await worker.gone
        assert (report.signal, report.reason) == (signal.SIGKILL, "was stopped")
        assert isinstance(await call.error(), WorkerLost)

    run(main())


def test_a_flood_on_stderr_stalls_nobody_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", "shout"), replicas=2) as generation:
            await ask(generation, "shout").answer()
            for _ in range(300):
                await ask(generation, "echo").answer()
            assert all(len(worker._process.stderr()) <= 8192 for worker in generation.workers)

    run(main())


def test_nothing_is_left_after_many_lives(tmp_path: Path) -> None:
    """No descriptor, no child, no thread, no task and no timer that holds the loop's end up."""

    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "echo", "die", "hang")
        async with serving(spec) as generation:
            await ask(generation, "echo").answer()
        before = descriptors()
        for _ in range(5):
            async with serving(spec, replicas=2, intensity=MANY) as generation:
                await ask(generation, "die").error()
                await ask(generation, "echo").answer()
                generation.workers[0].kill("the test says so")
        assert descriptors() == before
        assert not has_children()
        assert len(asyncio.all_tasks()) == 1

    run(main())
