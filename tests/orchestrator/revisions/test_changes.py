"""How a change comes into service: what stays, what is swapped, what is told anew."""

from __future__ import annotations

import asyncio
import os

from changing import BY, Gate, Yard, children, marks

from isolation.store.store import Store
from orchestrator.events import ChangeApplied, RevisionDraining, RevisionGone
from orchestrator.orchestrator import Orchestrator
from orchestrator.reload.change import Action
from orchestrator.revisions.history import Outcome


def processes(inside: Orchestrator, plugin: str) -> set[int]:
    """The worker processes of a plugin in service."""
    return {worker.pid for worker in inside.generations[plugin].workers}


def test_an_unchanged_plugin_keeps_its_process_and_a_changed_one_gets_another(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            a, b = processes(inside, "a"), processes(inside, "b")
            yard.plugin("a", "a2")
            applied = await inside.revisions.apply(BY)
            assert applied.change.plugins == {"a": Action.SWAP, "b": Action.KEEP}
            assert processes(inside, "b") == b
            assert not processes(inside, "a") & a
            assert marks(await yard.ask(inside)) == [("a", "a2", None), ("b", "b1", None)]

    asyncio.run(main())


def test_where_nothing_changed_there_is_no_new_revision(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            before, entries = children(), list(inside.revisions.history.entries)
            yard.path.write_text("# a remark says nothing\n" + yard.path.read_text())
            applied = await inside.revisions.apply(BY)
            assert (applied.outcome, applied.revision) == (None, inside.revisions.current)
            assert inside.revisions.current.number == 1
            assert (children(), inside.revisions.history.entries) == (before, entries)
            assert not yard.told(ChangeApplied)

    asyncio.run(main())


def test_calls_under_way_end_on_the_old_generation_and_new_ones_take_the_new(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            gate = yard.gate("a")
            old = processes(inside, "a")
            under_way = asyncio.ensure_future(yard.ask(inside, gate))
            await gate.arrived()
            yard.plugin("a", "a2")
            yard.plugin("b", "b2")
            applied = await inside.revisions.apply(BY)
            assert applied.outcome is Outcome.APPLIED
            assert marks(await yard.ask(inside)) == [("a", "a2", None), ("b", "b2", None)]
            (draining,) = inside.revisions.draining
            assert draining.revision.number == 1
            assert len(draining.runs) == 1
            assert old <= children()
            gate.open()
            # Its second pipeline begins after the swap, and belongs to the old revision all the same.
            assert marks(await under_way) == [("a", "a1", None), ("b", "b1", None)]
            await yard.until(lambda: bool(yard.told(RevisionGone)))
            assert not old & children()
            assert inside.revisions.draining == ()
        assert [event.revision for event in yard.told(RevisionDraining)] == [1]

    asyncio.run(main())


def test_twenty_swaps_leave_no_process_no_descriptor_and_no_task(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:

            async def change(number: int) -> None:
                yard.plugin("a", f"a{number}")
                await inside.revisions.apply(BY)
                assert marks(await yard.ask(inside))[0][1] == f"a{number}"
                await yard.until(lambda: len(yard.told(RevisionGone)) == number - 1)

            for number in range(2, 7):  # what is kept for a rollback is kept by now
                await change(number)
            before = standing(inside)
            for number in range(7, 22):
                await change(number)
            assert standing(inside) == before
            assert len(inside.breakers.views()) == 0

    def standing(inside: Orchestrator) -> tuple[int, int, int, int]:
        generations = {spec.spec.name for spec in inside.generations.values()}
        return len(children()), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()), len(generations)

    asyncio.run(main())


def test_another_with_reconfigures_the_process_and_runs_in_flight_keep_theirs(yard: Yard) -> None:
    async def main() -> None:
        yard.set_with("a", 1)
        async with yard.served() as inside:
            gate = yard.gate("b")  # behind a, whose table must still have what this call named
            process = processes(inside, "a")
            under_way = asyncio.ensure_future(yard.ask(inside, gate))
            await gate.arrived()
            yard.set_with("a", 2)
            applied = await inside.revisions.apply(BY)
            assert applied.change.plugins == {"a": Action.RECONFIGURE, "b": Action.KEEP}
            assert processes(inside, "a") == process
            table = inside.generations["a"].table
            assert [entry["with"] for entry in table.values()] == [{"n": 1}, {"n": 2}]  # type: ignore[index]
            gate.open(2)
            assert marks(await yard.ask(inside))[0] == ("a", "a1", 2)
            assert marks(await under_way)[0] == ("a", "a1", 1)
            await yard.until(lambda: bool(yard.told(RevisionGone)))
            table = inside.generations["a"].table
            assert [entry["with"] for entry in table.values()] == [{"n": 2}]  # type: ignore[index]

    asyncio.run(main())


def test_a_call_that_waits_before_a_reconfigured_stage_finds_the_configuration_that_it_names(yard: Yard) -> None:
    async def main() -> None:
        yard.set_with("b", 1)
        async with yard.served() as inside:
            gate = yard.gate("a")
            under_way = asyncio.ensure_future(yard.ask(inside, gate))
            await gate.arrived()
            yard.set_with("b", 2)
            await inside.revisions.apply(BY)
            gate.open()
            assert marks(await under_way) == [("a", "a1", None), ("b", "b1", 1)]

    asyncio.run(main())


def test_a_pipeline_comes_and_goes_without_a_process(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            before = children()
            third = {"hook": "ask", "stages": {"mark": {"uses": "a/mark"}}}
            yard.file["pipelines"]["third"] = third  # type: ignore[assignment]
            yard.save()
            await inside.revisions.apply(BY)
            assert [name for name, _, _ in marks(await yard.ask(inside))] == ["a", "b", "a"]
            del yard.file["pipelines"]["third"]
            yard.save()
            await inside.revisions.apply(BY)
            assert [name for name, _, _ in marks(await yard.ask(inside))] == ["a", "b"]
            assert children() == before

    asyncio.run(main())


def test_a_plugin_that_is_gone_is_stopped_after_its_last_call(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            gate, process = yard.gate("b"), processes(inside, "b")
            under_way = asyncio.ensure_future(yard.ask(inside, gate))
            await gate.arrived()
            del yard.file["plugins"]["b"], yard.file["pipelines"]["second"]
            yard.save()
            applied = await inside.revisions.apply(BY)
            assert applied.change.plugins == {"a": Action.KEEP, "b": Action.STOP}
            assert process <= children()
            gate.open()
            assert [name for name, _, _ in marks(await under_way)] == ["a", "b"]
            await yard.until(lambda: bool(yard.told(RevisionGone)))
            assert not process & children()

    asyncio.run(main())


def test_who_stops_waiting_for_a_change_stops_nothing_of_it(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            gate = yard.gate("start")
            yard.plugin("a", "a2", more=gate.before_start())
            asking = asyncio.ensure_future(inside.revisions.apply(BY))
            await gate.arrived()
            asking.cancel()
            await asyncio.wait([asking])
            assert asking.cancelled()
            gate.open()
            await yard.until(lambda: bool(yard.told(ChangeApplied)))
            assert marks(await yard.ask(inside))[0][1] == "a2"
            await inside.revisions.apply(BY)  # the turn is free again

    asyncio.run(main())


def test_a_host_that_closes_gives_a_change_up_and_leaves_nothing(yard: Yard) -> None:
    async def main() -> None:
        before, gate = children(), Gate(yard.folder, "start")
        async with yard.served() as inside:
            yard.plugin("a", "a2", more=gate.before_start())
            asking = asyncio.ensure_future(inside.revisions.apply(BY))
            await gate.arrived()
        gate.close()
        error = (await asyncio.wait([asking]))[0].pop().exception()
        assert getattr(error, "code", None) == "penstock.shutdown"
        assert children() == before

    asyncio.run(main())


def test_the_store_gets_back_what_it_lent_when_the_host_closes(yard: Yard) -> None:
    async def main() -> None:
        with Store(yard.store, offline=True) as store:
            async with yard.served(store) as inside:
                for number in range(2, 8):
                    yard.plugin("a", f"a{number}")
                    await inside.revisions.apply(BY)
                lent = {one.digest for one in inside.revisions.current.candidate.prepared.values()}
                assert lent <= set(store._leases._held)
            assert store._leases._held == {}

    asyncio.run(main())
