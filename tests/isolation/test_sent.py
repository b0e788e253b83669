"""What is known of a call whose worker ended: `sent` is False only where the plugin cannot have begun with it.

The plain death of a sequential worker is in `test_generation.py`, of a concurrent one whose loop hangs in
`test_generation_deadlines.py`, a concurrent breach in `test_worker.py`.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from living import CONCURRENT, SEQUENTIAL, Asked, Gate, ask, peer_spec, run, serving, spec_of, until

from isolation.errors import CallError, DeadlineExceeded, RemoteProtocolError, WorkerLost
from isolation.supervision import Intensity

KILL_AFTER_SECONDS = 0.1
MANY = Intensity(restarts=100, first_seconds=0.0)

PIPES = """
import fcntl, stat

def pipes(way):
    for fd in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == way:
                yield fd
        except OSError:
            pass

@plugin.stage("noise")
def noise(call):
    open(call.payload["gate"]).close()
    for fd in pipes(os.O_WRONLY):
        os.write(fd, b"noise\\n")
    threading.Event().wait()

@plugin.stage("shut")
def shut(call):
    open(call.payload["gate"]).close()
    for fd in pipes(os.O_RDONLY):
        os.close(fd)
    open(call.payload["shut"]).close()
    threading.Event().wait()
"""
"""Stages that lay hands on the pipes of the protocol, which the runtime keeps from authors as well as it can."""


async def lost(calls: list[Asked]) -> list[WorkerLost]:
    """How the calls were lost."""
    errors: list[CallError] = [await call.error() for call in calls]
    found = [error for error in errors if isinstance(error, WorkerLost)]
    assert len(found) == len(errors), errors
    return found


def wait_for_the_end_of(pid: int) -> None:
    """Hold the loop until a child is dead; nobody has heard of it then."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def pass_through(*gates: Gate) -> None:
    """Open one gate after the other, and hold the loop until the plugin has passed them all."""
    for gate in gates:
        os.close(os.open(gate.path, os.O_WRONLY))


def test_any_call_of_a_concurrent_worker_may_have_been_begun(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, CONCURRENT, "nap")) as generation:
            calls = [ask(generation, "nap") for _ in range(3)]
            generation.workers[0].kill("the test says so")
            assert [error.sent for error in await lost(calls)] == [True] * 3

    run(main())


def test_of_a_sequential_worker_that_breaks_the_protocol_nothing_is_known(tmp_path: Path) -> None:
    """What it says of its order is worth no more than what else it says."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL + PIPES, "noise", "echo")) as generation:
            gate = Gate(tmp_path)
            calls = [ask(generation, "noise", gate.payload), *(ask(generation, "echo") for _ in range(3))]
            await gate.reached()
            for call in calls:
                error = await call.error()
                assert isinstance(error, RemoteProtocolError) and error.sent

    run(main())


def test_a_worker_that_closed_its_stdin_began_only_with_the_oldest(tmp_path: Path) -> None:
    """What lies in the pipe was never read; what could not be written goes to another worker."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL + PIPES, "shut", "echo")) as generation:
            gate, shut = Gate(tmp_path), Gate(tmp_path, "shut")
            written = [ask(generation, "shut", {**gate.payload, "shut": str(shut.path)}), ask(generation, "echo")]
            await gate.reached()
            await shut.reached()
            unwritten = ask(generation, "echo")
            errors = await lost(written)
            assert [error.sent for error in errors] == [True, False]
            assert errors[0].report.reason == "closed its stdin"
            await unwritten.answer()
            assert unwritten.worker == "living#2"

    run(main())


def test_an_overrun_costs_the_calls_behind_it_their_worker_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "hang", "echo")) as generation:
            overrun, *behind = ask(generation, "hang", within=0.1), *(ask(generation, "echo") for _ in range(3))
            error = await overrun.error()
            assert isinstance(error, DeadlineExceeded) and error.sent
            errors = await lost(behind)
            assert [error.sent for error in errors] == [False] * 3
            assert errors[0].report.reason == "a call overran its deadline"

    run(main())


def test_an_overrun_that_ends_before_its_kill_leaves_the_next_call_unknown(tmp_path: Path) -> None:
    """Its answer is on the way when the worker is killed for it: by then the worker was at the next call."""

    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "gate", "deaf", "echo", kill_after_seconds=KILL_AFTER_SECONDS)
        async with serving(spec) as generation:
            late, next_one = Gate(tmp_path, "late"), Gate(tmp_path, "next")
            overrun = ask(generation, "gate", late.payload, within=0.05)
            behind = [ask(generation, "deaf", next_one.payload), ask(generation, "echo")]
            assert isinstance(await overrun.error(), DeadlineExceeded)
            asyncio.get_running_loop().call_later(KILL_AFTER_SECONDS / 2, pass_through, late, next_one)
            due = time.monotonic() + KILL_AFTER_SECONDS
            while time.monotonic() <= due:
                os.sched_yield()  # so that both timers are due, and nothing is read between them
            errors = await lost(behind)
            assert errors[0].report.reason == "a call overran its deadline"
            assert [error.sent for error in errors] == [True, False]

    run(main())


def test_answers_that_lay_unread_at_the_end_of_a_sequential_worker_count(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate", "echo", "leave")) as generation:
            gate, worker = Gate(tmp_path), generation.workers[0]
            calls = [ask(generation, "gate", gate.payload)]
            calls += [ask(generation, stage) for stage in ("echo", "leave", "echo")]
            pass_through(gate)
            wait_for_the_end_of(worker.pid)
            for call in calls[:2]:
                await call.answer()
            errors = await lost(calls[2:])
            assert [error.sent for error in errors] == [True, False]
            assert errors[0].report.status == 3

    run(main())


def test_answers_to_later_calls_that_lay_unread_at_the_end_of_a_concurrent_worker_count(tmp_path: Path) -> None:
    async def main() -> None:
        source = (
            "shake_hands()\nseen = [json.loads(sys.stdin.readline()) for _ in range(4)]\n"
            "for message in seen[2:]:\n    answer(message, {})\nos._exit(5)\n"
        )
        async with serving(peer_spec(tmp_path, source, window=4)) as generation:
            calls = [ask(generation, "act") for _ in range(4)]
            wait_for_the_end_of(generation.workers[0].pid)
            for call in calls[2:]:
                await call.answer()
            errors = await lost(calls[:2])
            assert [(error.sent, error.report.status) for error in errors] == [(True, 5)] * 2

    run(main())


def test_calls_that_meet_a_worker_which_died_behind_its_answers_go_to_the_next(tmp_path: Path) -> None:
    """Its last answers make room for what waits; that cannot be written, and was never sent."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate", "echo", "leave"), intensity=MANY) as generation:
            gate = Gate(tmp_path)
            for _ in range(5):
                worker = generation.workers[0]
                calls = [ask(generation, "gate", gate.payload)]
                calls += [ask(generation, stage) for stage in ("echo", "echo", "leave")]
                waiting = [ask(generation, "echo") for _ in range(3)]
                pass_through(gate)
                wait_for_the_end_of(worker.pid)
                for call in calls[:3]:
                    await call.answer()
                assert [error.sent for error in await lost(calls[3:])] == [True]
                for call in waiting:
                    await call.answer()
                    assert call.worker != worker.name
                await until(lambda: generation.workers)

    run(main())
