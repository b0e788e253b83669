"""Durable runs and revisions: a run ends on the generation that it began with, whatever is swapped or killed."""

from __future__ import annotations

import asyncio

import pytest
from changing import BY, ORDER, Host, Yard, children, marks, payload

from orchestrator.durable.durability import RunNotHad
from orchestrator.engine.lasting import Lasting
from orchestrator.events import RevisionGone
from orchestrator.orchestrator import HookResult, Orchestrator
from orchestrator.revisions.history import Outcome


def versions(yard: Yard) -> list[tuple[str, str]]:
    """What the ledger says: what was done, by which version."""
    return [(what, version) for what, version, _, _ in yard.taken()]


def run_of(result: HookResult) -> str:
    """The run of a call."""
    assert result.reply.run_id is not None
    return result.reply.run_id


async def change_to(yard: Yard, inside: Orchestrator, version: str) -> None:
    yard.plugin("a", version)
    assert (await inside.revisions.apply(BY)).outcome is Outcome.APPLIED


async def gone(yard: Yard, revisions: int) -> None:
    """Wait until so many revisions are gone."""
    await yard.until(lambda: len(yard.told(RevisionGone)) == revisions)


def test_a_run_that_a_swap_finds_under_way_is_confirmed_on_its_own_generation(yard: Yard) -> None:
    async def main() -> None:
        yard.durable(confirm_within="10m")
        async with yard.served() as inside:
            gate = yard.gate("a")
            calling = asyncio.ensure_future(yard.ask(inside, gate, ORDER))
            await gate.arrived()
            await change_to(yard, inside, "a2")
            gate.open()
            result = await calling
            assert marks(result) == [("a", "a1", None)]
            (draining,) = inside.revisions.draining
            assert draining.runs == (run_of(result),)
            assert await inside.confirm(run_of(result))
            await inside.conclude(result)
            await gone(yard, 1)
            assert versions(yard) == [("take", "a1")]
            assert result.lasting[0].status == "completed"
            assert len(children()) == 2

    asyncio.run(main())


def test_a_run_is_undone_after_a_swap_by_the_process_that_did_it(yard: Yard) -> None:
    async def main() -> None:
        yard.durable(confirm_within="10m")
        async with yard.served() as inside:
            result = await yard.ask(inside, hook=ORDER)
            await change_to(yard, inside, "a2")
            await change_to(yard, inside, "a3")
            await gone(yard, 1)  # of two that drain, the second: the first is held
            assert [one.revision.number for one in inside.revisions.draining] == [1]
            await inside.settled(await inside.compensate(run_of(result)))
            (take, give_back) = yard.taken()
            assert give_back == ["give_back", "a1", take[2], take[3]]
            await gone(yard, 2)
            assert int(take[2]) not in children()

    asyncio.run(main())


def test_an_unconfirmed_run_is_undone_on_its_own_generation_by_itself(yard: Yard) -> None:
    async def main() -> None:
        yard.durable(confirm_within="100ms")
        async with yard.served() as inside:
            await yard.ask(inside, hook=ORDER)
            await change_to(yard, inside, "a2")
            await gone(yard, 1)
            assert versions(yard) == [("take", "a1"), ("give_back", "a1")]

    asyncio.run(main())


@pytest.mark.parametrize("restart", [False, True], ids=["while it serves", "after a restart"])
def test_a_parked_run_is_resumed_after_the_drain_by_its_own_code(yard: Yard, restart: bool) -> None:
    async def resume(inside: Orchestrator, run: str) -> Lasting:
        resumed = await inside.resume(run)
        await inside.settled(resumed)
        return resumed

    async def main() -> None:
        yard.durable()
        stuck = yard.ledger.with_name("ledger.stuck")
        stuck.touch()
        async with yard.served() as inside:
            result = await yard.ask(inside, hook=ORDER)
            parked = await inside.compensate(run_of(result))
            await inside.settled(parked)
            assert parked.status == "parked"
            await change_to(yard, inside, "a2")
            await gone(yard, 1)
            serving = children()
            stuck.unlink()
            if not restart:
                assert (await resume(inside, run_of(result))).status == "undone"
                await yard.until(lambda: children() == serving)
        if restart:
            async with yard.served() as inside:
                assert (await resume(inside, run_of(result))).status == "undone"
        assert versions(yard) == [("take", "a1"), ("give_back", "a1")]
        assert yard.taken()[0][2] != yard.taken()[1][2]  # its process was stopped long before

    asyncio.run(main())


def test_a_run_of_a_plan_that_was_rolled_back_to_is_resumed_from_the_store(yard: Yard) -> None:
    """Its plan was archived a second time; the folder it came from holds something else by then."""

    async def main() -> None:
        yard.durable()
        stuck = yard.ledger.with_name("ledger.stuck")
        stuck.touch()
        async with yard.served() as inside:
            await change_to(yard, inside, "a2")
            await inside.revisions.rollback(None, BY)
            result = await yard.ask(inside, hook=ORDER)
            await inside.settled(await inside.compensate(run_of(result)))
            await change_to(yard, inside, "a3")
            await gone(yard, 3)
            stuck.unlink()
            await inside.settled(await inside.resume(run_of(result)))
            assert versions(yard) == [("take", "a1"), ("give_back", "a1")]

    asyncio.run(main())


def test_an_idempotency_key_finds_its_run_across_swaps(yard: Yard) -> None:
    async def main() -> None:
        yard.durable()
        async with yard.served() as inside:
            gate = yard.gate("a")
            first = asyncio.ensure_future(yard.ask(inside, gate, ORDER, idempotency_key="k"))
            await gate.arrived()
            await change_to(yard, inside, "a2")
            second = asyncio.ensure_future(yard.ask(inside, gate, ORDER, idempotency_key="k"))
            await asyncio.wait([second], timeout=0)
            gate.open()
            results = [await first, await second]
            await inside.conclude(results[0])
            await gone(yard, 1)
            results.append(await yard.ask(inside, gate, ORDER, idempotency_key="k"))
            assert {run_of(result) for result in results} == {run_of(results[0])}
            assert [marks(result) for result in results] == [[("a", "a1", None)]] * 3
            assert versions(yard) == [("take", "a1")]
            gate.open()
            assert marks(await yard.ask(inside, gate, ORDER, idempotency_key="other"))[0][1] == "a2"

    asyncio.run(main())


def test_a_pipeline_that_becomes_durable_is_journaled_from_then_on(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            yard.durable()
            await inside.revisions.apply(BY)
            result = await yard.ask(inside, hook=ORDER)
            await inside.conclude(result)
            assert inside.durability is not None
            assert inside.durability.journal.run(run_of(result)) is not None

    asyncio.run(main())


def test_the_journal_keeps_the_plans_that_runs_and_revisions_need_and_no_others(yard: Yard) -> None:
    async def main() -> None:
        yard.durable()
        async with yard.served() as inside:
            await inside.conclude(await yard.ask(inside, hook=ORDER))
            first = inside.revisions.current.origin
            for number in range(2, 6):
                await change_to(yard, inside, f"a{number}")
            await gone(yard, 4)
            assert inside.durability is not None
            journal = inside.durability.journal
            await yard.until(lambda: set(journal.plans()) == {first, inside.revisions.current.origin})

    asyncio.run(main())


def test_a_kill_between_swaps_leaves_every_run_completed_undone_or_parked(yard: Yard) -> None:
    yard.durable(confirm_within="10m")
    runs: dict[str, str] = {}
    with Host(yard) as host:
        for version in ("a1", "a2", "a3"):
            yard.plugin("a", version)
            host.ask(apply=True)
            for wish in ("confirmed", "open"):
                verdict, run = host.ask(ask=ORDER, payload=payload(yard))
                assert verdict == "modify"
                runs[run] = wish
                if wish == "confirmed":
                    assert host.ask(confirm=run) is True
        gate = yard.gate("a")
        host.tell(ask=ORDER, payload=payload(yard, gate))
        asyncio.run(gate.arrived())
        yard.plugin("a", "a4")
        host.kill()

    async def main() -> None:
        async with yard.served() as inside:
            assert inside.revisions.current.number == 4
            assert inside.durability is not None
            for number, (run, wish) in enumerate(runs.items()):
                if wish == "open":
                    undone = await inside.compensate(run) if number % 4 == 1 else None
                    if undone is None:
                        assert await inside.confirm(run)
                    else:
                        await inside.settled(undone)
            await yard.until(lambda: not inside.engine.open)
            ends = {run: inside.durability.journal.run(run) for run in runs}
            assert all(row is not None and row.status.value in ("completed", "undone") for row in ends.values())
        taken = {key: (version, pid) for what, version, pid, key in yard.taken() if what == "take"}
        back = {key: version for what, version, _, key in yard.taken() if what == "give_back"}
        # Two were undone by wish; the one that was under way undid itself. Each by the version that took it.
        assert len(taken) == 7
        assert sorted(back.values()) == ["a1", "a3", "a3"]
        assert all(taken[key][0] == version for key, version in back.items())

    asyncio.run(main())


def test_a_run_that_is_not_there_cannot_be_had(yard: Yard) -> None:
    async def main() -> None:
        yard.durable()
        async with yard.served() as inside:
            with pytest.raises(RunNotHad):
                await inside.resume("01M8AG8AJYEPJ1KMESHG000001")

    asyncio.run(main())
