"""Replicas of real workers: who takes a call, what waits, what a crash costs, and when there are no more restarts."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from living import (
    CONCURRENT,
    SEQUENTIAL,
    Gate,
    ask,
    peer_spec,
    run,
    serving,
    spec_of,
    until,
)

from isolation.bulkhead import DEFAULT_QUEUE
from isolation.errors import (
    DeadlineExceeded,
    LocalProtocolError,
    PluginBusy,
    PluginError,
    PluginFailed,
    WorkerLost,
)
from isolation.handshake import SEQUENTIAL_WINDOW
from isolation.supervision import Intensity
from isolation.worker import MAX_UNWRITTEN_BYTES

MANY = Intensity(restarts=100)


def kill_and_tell_nobody(pid: int) -> None:
    """End a child for certain, while the loop is not run and so cannot have heard of it."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


# When a worker dies.


def test_a_killed_worker_fails_what_was_written_to_it_and_what_waited_is_served(tmp_path: Path) -> None:
    """Only the oldest call can have had an effect: a sequential worker had not read the others."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", "die")) as generation:
            gate = Gate(tmp_path)
            written = [ask(generation, "die", gate.payload)]
            written += [ask(generation, "echo") for _ in range(SEQUENTIAL_WINDOW - 1)]
            waited = [ask(generation, "echo") for _ in range(3)]
            assert (generation.workers[0].outstanding, generation.waiting) == (SEQUENTIAL_WINDOW, 3)
            await gate.reached()
            lost = [await call.error() for call in written]
            assert all(type(error) is WorkerLost for error in lost)
            assert [error.sent for error in lost] == [True, False, False, False]
            first = lost[0]
            assert isinstance(first, WorkerLost)
            assert (first.report.signal, first.report.status, first.report.reason) == (signal.SIGKILL, None, "")
            assert first.report.stderr == "these are my last words"
            assert "was killed by signal 9\nthese are my last words" in str(first)
            for call in waited:
                await call.answer()
                assert call.worker == "living#2"

    run(main())


def test_an_exit_in_a_call_tells_its_status(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "leave")) as generation:
            error = await ask(generation, "leave").error()
            assert isinstance(error, WorkerLost)
            assert (error.report.status, error.report.signal) == (3, None)
            assert str(error) == "worker living#1 exited with status 3"

    run(main())


def test_a_call_that_meets_a_dead_worker_goes_to_another_replica(tmp_path: Path) -> None:
    """The write fails before anybody has told us of the end; the call must not wait for a restart."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo"), replicas=2) as generation:
            first, second = generation.workers
            kill_and_tell_nobody(first.pid)
            calls = [ask(generation, "echo") for _ in range(20)]
            at_once = [call.worker for call in calls[:SEQUENTIAL_WINDOW]]
            assert at_once == [second.name] * SEQUENTIAL_WINDOW
            for call in calls:
                await call.answer()

    run(main())


def test_a_crash_of_one_replica_leaves_the_other_untouched(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate", "die"), replicas=2) as generation:
            gate = Gate(tmp_path)
            safe, doomed = ask(generation, "gate", gate.payload), ask(generation, "die")
            assert isinstance(await doomed.error(), WorkerLost)
            await gate.reached()
            await safe.answer()
            await until(lambda: len(generation.workers) == 2)

    run(main())


def test_over_the_restart_intensity_calls_fail_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "die", "echo")
        async with serving(spec, intensity=Intensity(restarts=1, first_seconds=0.0)) as generation:
            for _ in range(2):
                await ask(generation, "die").error()
            waiting = ask(generation, "echo")
            for call in (waiting, ask(generation, "echo")):
                error = await call.error()
                assert type(error) is PluginFailed and not error.sent
                assert "more often than its restart intensity allows" in str(error)
            assert generation.failure is not None and not generation.ready

    run(main())


def test_a_failed_generation_keeps_its_last_healthy_replica_to_its_end(tmp_path: Path) -> None:
    """And nothing is restarted after that: failed is failed until somebody decides otherwise."""

    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "die", "echo")
        async with serving(spec, replicas=2, intensity=Intensity(restarts=0)) as generation:
            await ask(generation, "die").error()
            assert generation.failure is None
            await ask(generation, "echo").answer()
            await ask(generation, "die").error()
            error = await ask(generation, "echo").error()
            assert type(error) is PluginFailed and generation.failure is not None

    run(main())


def test_a_worker_that_cannot_be_started_again_counts_towards_the_intensity(tmp_path: Path) -> None:
    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "die", "echo")
        async with serving(spec, intensity=Intensity(restarts=2, first_seconds=0.0)) as generation:
            (tmp_path / "plugin.py").write_text("raise SystemExit(5)")
            await ask(generation, "die").error()
            assert type(await ask(generation, "echo").error()) is PluginFailed

    run(main())


# Choosing and waiting.


def test_calls_go_to_the_least_busy_replica(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate"), replicas=3) as generation:
            gates = [Gate(tmp_path, f"gate{number}") for number in range(3)]
            calls = [ask(generation, "gate", gate.payload) for gate in gates]
            assert {call.worker for call in calls} == {worker.name for worker in generation.workers}
            for gate in gates:
                await gate.reached()
            pids = {(await call.answer())["out"]["pid"] for call in calls}
            assert pids == {worker.pid for worker in generation.workers}

    run(main())


def test_a_full_queue_refuses_and_forgets_those_who_gave_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate", "echo")) as generation:
            gate = Gate(tmp_path)
            first = ask(generation, "gate", gate.payload)
            room = SEQUENTIAL_WINDOW - 1 + DEFAULT_QUEUE
            calls = [ask(generation, "echo") for _ in range(room)]
            refused = ask(generation, "echo")
            assert refused.ends == 1 and isinstance(await refused.error(), PluginBusy)
            generation.cancel(calls.pop())
            calls.append(ask(generation, "echo"))
            assert calls[-1].ends == 0
            await gate.reached()
            for call in [first, *calls]:
                await call.answer()

    run(main())


def test_a_plugin_that_does_not_read_is_not_written_to_without_bound(tmp_path: Path) -> None:
    async def main() -> None:
        source = 'import signal\nhello["concurrency"] = 64\nshake_hands()\nsignal.pause()\n'
        async with serving(peer_spec(tmp_path, source, window=64)) as generation:
            worker = generation.workers[0]
            payload = b'{"q":"' + b"x" * 700_000 + b'"}'
            calls = [ask(generation, "act", payload, within=0.3) for _ in range(32)]
            assert worker._process.unwritten < MAX_UNWRITTEN_BYTES + len(payload) + 1000
            assert generation.waiting >= 29
            for call in calls:
                assert isinstance(await call.error(), DeadlineExceeded)

    run(main())


def test_what_waits_for_a_slow_reader_is_written_when_it_reads(tmp_path: Path) -> None:
    """Room comes from bytes that were read, before any answer."""

    async def main() -> None:
        source = (
            "shake_hands()\nseen = [json.loads(sys.stdin.readline()) for _ in range(8)]\n"
            "for message in seen:\n    answer(message, {})\nsys.stdin.read()\n"
        )
        async with serving(peer_spec(tmp_path, source, window=64)) as generation:
            calls = [ask(generation, "act", b'{"q":"' + b"x" * 700_000 + b'"}') for _ in range(8)]
            assert generation.waiting > 0
            for call in calls:
                assert await call.answer() == {}

    run(main())


def test_large_frames_travel_both_ways_without_a_deadlock(tmp_path: Path) -> None:
    """Both pipes are full at once: neither side may stop reading while it writes."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, CONCURRENT, "echo")) as generation:
            payloads = [{"q": chr(97 + number) * (5 << 20)} for number in range(4)]
            calls = [ask(generation, "echo", payload) for payload in payloads]
            for call, payload in zip(calls, payloads, strict=True):
                assert (await call.answer())["payload"] == payload

    run(main())


def test_a_call_over_the_frame_limit_is_not_sent_and_harms_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", max_frame_bytes=100_000)) as generation:
            beside = ask(generation, "echo")
            error = await ask(generation, "echo", {"q": "x" * 100_000}).error()
            assert isinstance(error, LocalProtocolError) and not error.sent
            assert error.code == "penstock.too_large"
            await beside.answer()
            answer = await ask(generation, "echo", {"q": "x" * 99_000}).answer()
            assert len(answer["payload"]["q"]) == 99_000
            assert len(generation.workers) == 1 and generation.workers[0].name == "living#1"

    run(main())


def test_an_answer_over_the_frame_limit_is_that_calls_error(tmp_path: Path) -> None:
    async def main() -> None:
        source = SEQUENTIAL.replace("call.modify(call.payload)", 'call.modify({"q": "x" * 200_000})')
        async with serving(spec_of(tmp_path, source, "echo", max_frame_bytes=100_000)) as generation:
            error = await ask(generation, "echo").error()
            assert isinstance(error, PluginError) and error.number == -32805

    run(main())
