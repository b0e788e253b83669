"""The bulkhead: what waits, in which order, and how many; beside a plain list, and around real workers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from living import CONCURRENT, SEQUENTIAL, Asked, Gate, ask, peer_spec, run, serving, spec_of, until

from isolation.bulkhead import Bulkhead
from isolation.errors import DeadlineExceeded, PluginBusy, WorkerLost
from isolation.generation import Generation
from isolation.handshake import SEQUENTIAL_WINDOW
from isolation.supervision import Intensity


class BulkheadModel(RuleBasedStateMachine):
    """A bulkhead beside a plain list of who waits."""

    @initialize(queue=st.integers(0, 5), concurrency=st.none() | st.integers(1, 4))
    def begin(self, queue: int, concurrency: int | None) -> None:
        self.bulkhead = Bulkhead[int](concurrency, queue)
        self.row: list[int] = []
        self.newest = 0

    @rule()
    def wait(self) -> None:
        self.newest += 1
        has_room = len(self.row) < self.bulkhead.queue
        assert self.bulkhead.wait(self.newest) == has_room
        if has_room:
            self.row.append(self.newest)

    @precondition(lambda self: self.row)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.bulkhead.leave(self.row.pop(data.draw(st.integers(0, len(self.row) - 1))))

    @rule()
    def leave_without_waiting(self) -> None:
        self.bulkhead.leave(-1)

    @precondition(lambda self: self.row)
    @rule()
    def next(self) -> None:
        assert self.bulkhead.next() == self.row.pop(0)

    @rule()
    def put_back(self) -> None:
        self.newest += 1
        self.bulkhead.put_back(self.newest)
        self.row.insert(0, self.newest)

    @rule(owed=st.integers(0, 6))
    def admits(self, owed: int) -> None:
        bound = self.bulkhead.concurrency
        assert self.bulkhead.admits(owed) == (bound is None or owed < bound)

    @invariant()
    def agrees_with_the_list(self) -> None:
        assert list(self.bulkhead.waiting) == self.row


TestBulkhead = BulkheadModel.TestCase


# Around real workers.


def owed(generation: Generation) -> int:
    return generation.status.owed


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_calls_are_with_workers_than_the_bound_allows(tmp_path: Path, concurrency: int) -> None:
    """Although the windows of two workers have room for many more."""

    async def main() -> None:
        spec = spec_of(tmp_path, CONCURRENT, "gate", "echo")
        async with serving(spec, replicas=2, concurrency=concurrency) as generation:
            gates = [Gate(tmp_path, f"gate{number}") for number in range(5)]
            calls = [ask(generation, "gate", gate.payload) for gate in gates]
            for left, (gate, call) in reversed(list(enumerate(zip(reversed(gates), reversed(calls), strict=True)))):
                assert (owed(generation), generation.waiting) == (
                    min(concurrency, left + 1),
                    max(0, left + 1 - concurrency),
                )
                await gate.reached()
                await call.answer()
            await ask(generation, "echo").answer()

    run(main())


def test_a_call_that_was_cancelled_counts_until_the_worker_has_answered_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate", "echo"), concurrency=1) as generation:
            gate = Gate(tmp_path)
            given_up, next_one = ask(generation, "gate", gate.payload), ask(generation, "echo")
            generation.cancel(given_up)
            assert (owed(generation), generation.waiting) == (1, 1)
            await gate.reached()
            await next_one.answer()
            assert given_up.ends == 0

    run(main())


def test_the_end_of_a_worker_frees_its_places_for_the_others(tmp_path: Path) -> None:
    """Nobody else answers in that moment, and so nobody else would ask for the next call."""

    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "die", "echo", ping_every_seconds=600.0)  # an answer would be a place, too
        async with serving(spec, replicas=2, concurrency=1, intensity=Intensity(restarts=0)) as generation:
            doomed, after = ask(generation, "die"), ask(generation, "echo")
            assert isinstance(await doomed.error(), WorkerLost)
            await after.answer()
            assert {doomed.worker, after.worker} == {"living#1", "living#2"}

    run(main())


def test_a_ping_takes_no_calls_place(tmp_path: Path) -> None:
    async def main() -> None:
        source = """
shake_hands()
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] != "ping":
        answer(message, {})
"""
        spec = peer_spec(tmp_path, source, window=64, ping_every_seconds=0.1, ping_within_seconds=600.0)
        async with serving(spec, concurrency=1, queue=0) as generation:
            await until(lambda: generation.workers[0].outstanding)
            assert owed(generation) == 0
            assert await ask(generation, "act").answer() == {}

    run(main())


def test_what_a_draining_worker_still_owes_counts(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, CONCURRENT, "gate", "echo"), concurrency=1) as generation:
            gate, old = Gate(tmp_path), generation.workers[0]
            finishing, after = ask(generation, "gate", gate.payload), ask(generation, "echo")
            old.drain()
            await until(lambda: generation.workers not in ((), (old,)))
            assert (owed(generation), generation.waiting) == (1, 1)
            await gate.reached()
            await finishing.answer()
            await after.answer()
            assert after.worker == "living#2"

    run(main())


def test_over_the_queue_callers_are_told_in_the_same_turn(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate", "echo"), concurrency=1, queue=2) as generation:
            gate = Gate(tmp_path)
            calls = [ask(generation, "gate", gate.payload), ask(generation, "echo"), ask(generation, "echo")]
            refused = ask(generation, "echo")
            assert refused.ends == 1, "nothing was awaited"
            error = await refused.error()
            assert type(error) is PluginBusy and not error.sent
            assert "2 calls wait for living" in str(error)
            await gate.reached()
            for call in calls:
                await call.answer()

    run(main())


@pytest.mark.parametrize("concurrency", [1, None])
def test_without_a_queue_nobody_waits(tmp_path: Path, concurrency: int | None) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate", "echo"), concurrency=concurrency, queue=0) as one:
            gate = Gate(tmp_path)
            calls = [ask(one, "gate", gate.payload)]
            calls += [ask(one, "echo") for _ in range((concurrency or SEQUENTIAL_WINDOW) - 1)]
            assert type(await ask(one, "echo").error()) is PluginBusy
            await gate.reached()
            for call in calls:
                await call.answer()
            await ask(one, "echo").answer()

    run(main())


def test_who_gave_up_or_ran_out_of_time_gives_the_place_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate", "echo"), concurrency=1, queue=3) as generation:
            gate = Gate(tmp_path)
            first = ask(generation, "gate", gate.payload)
            short, given_up, last = (
                ask(generation, "echo", within=0.05),
                ask(generation, "echo"),
                ask(generation, "echo"),
            )
            assert type(await ask(generation, "echo").error()) is PluginBusy
            generation.cancel(given_up)
            assert generation.waiting == 2
            error = await short.error()
            assert type(error) is DeadlineExceeded and not error.sent
            assert generation.waiting == 1
            others = [ask(generation, "echo") for _ in range(2)]
            assert type(await ask(generation, "echo").error()) is PluginBusy
            await gate.reached()
            for call in (first, last, *others):
                await call.answer()
            assert given_up.ends == 0

    run(main())


def test_a_call_that_is_cancelled_while_it_waits_leaves_nothing_behind(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "gate"), concurrency=1, queue=10) as generation:
            gate = Gate(tmp_path)
            first = ask(generation, "gate", gate.payload)
            for _ in range(1000):
                generation.cancel(ask(generation, "gate", gate.payload))
            assert generation.waiting == 0
            await gate.reached()
            await first.answer()

    run(main())


def test_a_slow_plugin_does_not_starve_another(tmp_path: Path) -> None:
    """A thousand calls of the slow one are on their way, and all of the quick one's come through meanwhile."""

    async def main() -> None:
        for name in ("slow", "quick"):
            (tmp_path / name).mkdir()
        slow_spec = spec_of(tmp_path / "slow", SEQUENTIAL, "hang")
        quick_spec = spec_of(tmp_path / "quick", SEQUENTIAL, "echo")
        async with serving(slow_spec, concurrency=4, queue=500) as slow, serving(quick_spec) as quick:
            hanging = [ask(slow, "hang") for _ in range(1000)]
            refused = [call for call in hanging if call.ends]
            assert len(refused) == 1000 - 4 - 500
            assert all([type(await call.error()) is PluginBusy for call in refused])
            quick_calls: list[Asked] = []
            for _ in range(200):
                quick_calls.append(ask(quick, "echo"))
                hanging.append(ask(slow, "hang"))
                await asyncio.sleep(0)
            for call in quick_calls:
                await call.answer()
            assert (owed(slow), slow.waiting) == (4, 500), "none of the slow ones ended meanwhile"

    run(main())
