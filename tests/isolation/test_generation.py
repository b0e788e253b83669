"""Replicas of real workers: who takes a call, what waits, what a crash costs, and when there are no more restarts."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from living import CONCURRENT, CONFIGS, SEQUENTIAL, Asked, Gate, descriptors, peer_spec, run, serving, spec_of, until

from isolation import generation as generation_module
from isolation.errors import (
    CallError,
    DeadlineExceeded,
    LocalProtocolError,
    NotSent,
    PluginBusy,
    PluginError,
    StartError,
    Stopping,
    WorkerLost,
)
from isolation.generation import Generation
from isolation.supervision import Intensity
from isolation.worker import MAX_UNWRITTEN_BYTES, SEQUENTIAL_WINDOW

MANY = Intensity(restarts=100)


def ask(generation: Generation, stage: str, payload: dict[str, str] | bytes = b"{}", within: float = 60.0) -> Asked:
    """Submit one call."""
    asked = Asked(stage, payload, within=within)
    generation.submit(asked)
    return asked


def kill_and_tell_nobody(pid: int) -> None:
    """End a child for certain, while the loop is not run and so cannot have heard of it."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def has_children() -> bool:
    """Whether this process has any child, a dead one included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


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
                assert type(error) is NotSent and not error.sent
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
            assert type(error) is NotSent and generation.failure is not None

    run(main())


def test_a_worker_that_cannot_be_started_again_counts_towards_the_intensity(tmp_path: Path) -> None:
    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "die", "echo")
        async with serving(spec, intensity=Intensity(restarts=2, first_seconds=0.0)) as generation:
            (tmp_path / "plugin.py").write_text("raise SystemExit(5)")
            await ask(generation, "die").error()
            assert type(await ask(generation, "echo").error()) is NotSent

    run(main())


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
            room = SEQUENTIAL_WINDOW - 1 + generation_module.MAX_WAITING_CALLS
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


# Callers.


class Rude(Asked):
    """Its caller's code raises."""

    def _ended(self, end: bytes | CallError) -> None:
        super()._ended(end)
        raise RuntimeError("a bug of the caller's")


@pytest.mark.parametrize("stage", ["echo", "raise"])
def test_a_caller_that_raises_costs_nobody_else_an_answer(tmp_path: Path, stage: str) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", "raise")) as generation:
            rude = [Rude(stage) for _ in range(8)]
            kind = [Asked("echo") for _ in range(8)]
            for pair in zip(rude, kind, strict=True):
                for call in pair:
                    generation.submit(call)
            for call in kind:
                await call.answer()
            assert [call.ends for call in rude] == [1] * 8
            assert [worker.name for worker in generation.workers] == ["living#1"]

    run(main())


def test_a_caller_that_raises_does_not_keep_others_from_their_errors(tmp_path: Path) -> None:
    """At the deadline, when a worker dies and when the generation stops."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "hang")) as generation:
            expiring = [Rude("hang", within=0.05), Asked("hang", within=0.05)]
            lasting = [Rude("hang"), Asked("hang"), Rude("hang"), Asked("hang")]
            for call in expiring + lasting:
                generation.submit(call)
            assert isinstance(await expiring[1].error(), DeadlineExceeded)
            assert isinstance(await lasting[1].error(), WorkerLost)
        assert [call.ends for call in expiring + lasting] == [1] * 6

    run(main())


class Chained(Asked):
    """Submits the next call from within its own answer, and gives another up."""

    def __init__(self, generation: Generation, left: int) -> None:
        super().__init__("echo")
        self.generation = generation
        self.left = left
        self.next: Chained | None = None

    def _ended(self, end: bytes | CallError) -> None:
        if self.left:
            self.next = Chained(self.generation, self.left - 1)
            self.generation.submit(self.next)
            given_up = Asked("echo")
            self.generation.submit(given_up)
            self.generation.cancel(given_up)
        super()._ended(end)


def test_a_caller_may_submit_and_cancel_from_within_an_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo"), replicas=2) as generation:
            chains = [Chained(generation, 20) for _ in range(12)]
            for chain in chains:
                generation.submit(chain)
            for chain in chains:
                link: Chained | None = chain
                while link is not None:
                    await link.answer()
                    link = link.next
            await until(lambda: all(worker.outstanding == 0 for worker in generation.workers))
            assert generation.waiting == 0

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
