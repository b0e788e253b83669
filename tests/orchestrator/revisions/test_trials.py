"""A change on trial: which calls it takes, when it is ended by itself, and what becomes of it otherwise."""

from __future__ import annotations

import asyncio

from changing import BY, Yard, children, marks, refusal_of

from orchestrator.events import (
    CanaryAborted,
    CanaryPromoted,
    CanaryStarted,
    ChangeApplied,
    RevisionDraining,
    RevisionGone,
)
from orchestrator.orchestrator import HookResult, Orchestrator
from orchestrator.reload.change import Action
from orchestrator.revisions.following import Applied
from orchestrator.revisions.history import Outcome

FAILS = """
def broken(call):
    raise ZeroDivisionError("it is broken")


plugin.stages["mark"].function = broken
"""


def with_split(yard: Yard, percent: float, **abort: object) -> None:
    """Let part of the calls go to a new generation of `a`."""
    stages = yard.file["pipelines"]["first"]["stages"]
    split = {"canary": percent, "key": "payload.name", **({"abort": abort} if abort else {})}
    stages["mark"]["split"] = split  # type: ignore[index]
    yard.save()


async def on_trial(yard: Yard, inside: Orchestrator, version: str = "a2", more: str = "") -> Applied:
    yard.plugin("a", version, more=more)
    applied = await inside.revisions.apply(BY)
    assert applied.outcome is Outcome.CANARY
    return applied


async def ask_as(inside: Orchestrator, name: str) -> HookResult:
    return await inside.invoke("ask", {"name": name, "args": {}})


async def versions(inside: Orchestrator, names: int = 200) -> list[str]:
    """The version of `a` that answers each of many callers."""
    results = await asyncio.gather(*(ask_as(inside, f"caller {number}") for number in range(names)))
    return [marks(result)[0][1] for result in results]


def test_it_takes_its_part_of_the_callers_and_always_the_same_ones(yard: Yard) -> None:
    async def main() -> None:
        with_split(yard, 30)
        async with yard.served() as inside:
            assert set(await versions(inside)) == {"a1"}
            applied = await on_trial(yard, inside)
            assert applied.change.plugins == {"a": Action.SWAP, "b": Action.KEEP}
            first = await versions(inside)
            assert first == await versions(inside)
            assert 0.2 < first.count("a2") / len(first) < 0.4
            assert inside.revisions.current.number == 1
            inside.revisions.split(60)
            more = await versions(inside)
            assert 0.5 < more.count("a2") / len(more) < 0.7
            assert all(now == "a2" for before, now in zip(first, more, strict=True) if before == "a2")
            inside.revisions.split(0)
            assert set(await versions(inside)) == {"a1"}
            inside.revisions.split(100)
            assert set(await versions(inside)) == {"a2"}
        assert [event.revision for event in yard.told(CanaryStarted)] == [2, 2, 2, 2]

    asyncio.run(main())


def test_one_that_fails_is_ended_by_itself(yard: Yard) -> None:
    async def main() -> None:
        with_split(yard, 30, minimum_calls=10)
        async with yard.served() as inside:
            await on_trial(yard, inside, more=FAILS)
            denied = 0
            for round_ in range(40):
                results = await asyncio.gather(*(ask_as(inside, f"{round_} {number}") for number in range(20)))
                denied += sum(result.verdict == "deny" for result in results)
                if inside.engine.split is None:
                    break
            assert 10 <= denied <= 60
            await yard.until(lambda: bool(yard.told(RevisionGone)))
            (ended,) = yard.told(CanaryAborted)
            assert (ended.revision, ended.by) == (2, "canary")
            assert "failed" in ended.reason
            assert set(await versions(inside)) == {"a1"}
            assert len(children()) == 2
            entry = inside.revisions.history.entry(2)
            assert entry is not None
            assert (entry.outcome, entry.by, entry.reason) == (Outcome.ABORTED, "canary", ended.reason)
            assert entry.change["plugins"] == {"a": "swap", "b": "keep"}
            assert inside.revisions.history.served() == [1]

    asyncio.run(main())


def test_one_that_is_promoted_takes_every_call_and_can_be_rolled_back(yard: Yard) -> None:
    async def main() -> None:
        with_split(yard, 10)
        async with yard.served() as inside:
            await on_trial(yard, inside)
            assert (await inside.revisions.promote(BY)).number == 2
            assert set(await versions(inside)) == {"a2"}
            await yard.until(lambda: bool(yard.told(RevisionGone)))
            assert len(children()) == 2
            assert [event.revision for event in yard.told(CanaryPromoted)] == [2]
            assert (await refusal_of(inside.revisions.promote(BY))).code == "penstock.no_canary"
            back = await inside.revisions.rollback(None, BY)
            assert (back.outcome, back.revision.of) == (Outcome.APPLIED, 1)  # whole: who goes back wants no trial
            entry = inside.revisions.history.entry(3)
            assert entry is not None
            assert (back.change.trial, entry.change["trial"]) == ((), []), "and is told of none"
            assert set(await versions(inside)) == {"a1"}

    asyncio.run(main())


def test_one_that_is_aborted_or_rolled_back_drains(yard: Yard) -> None:
    async def main() -> None:
        with_split(yard, 100)
        async with yard.served() as inside:
            for number, version in ((2, "a2"), (3, "a3")):
                await on_trial(yard, inside, version)
                gate = yard.gate("a")
                under_way = asyncio.ensure_future(yard.ask(inside, gate))
                await gate.arrived()
                if number == 2:
                    await inside.revisions.abort(BY, "a test")
                else:
                    back = await inside.revisions.rollback(None, BY)
                    assert (back.outcome, back.change.trial) == (Outcome.ABORTED, ())
                assert set(await versions(inside, 5)) == {"a1"}
                (draining,) = inside.revisions.draining
                assert draining.revision.number == number
                gate.open()
                assert marks(await under_way)[0][1] == version
                await yard.until(lambda: not inside.revisions.draining)
            await yard.until(lambda: len(yard.told(RevisionGone)) == 2)
            assert len(children()) == 2
            assert [inside.revisions.history.outcome(number) for number in (2, 3)] == [Outcome.ABORTED] * 2

    asyncio.run(main())


def test_another_change_ends_it_once_it_is_ready(yard: Yard) -> None:
    async def main() -> None:
        with_split(yard, 100)
        async with yard.served() as inside:
            await on_trial(yard, inside)
            await on_trial(yard, inside, "a3")
            assert set(await versions(inside, 5)) == {"a3"}
            await yard.until(lambda: bool(yard.told(RevisionGone)))
            assert [event.revision for event in yard.told(RevisionGone)] == [2]
            assert inside.revisions.history.outcome(2) is Outcome.ABORTED
            assert inside.revisions.current.number == 1

    asyncio.run(main())


def test_another_change_that_is_refused_leaves_it_on_trial(yard: Yard) -> None:
    async def main() -> None:
        with_split(yard, 100)
        async with yard.served() as inside:
            await on_trial(yard, inside)
            yard.plugin("a", "a3", more="import nonsense\n")
            assert (await refusal_of(inside.revisions.apply(BY))).code == "penstock.start"
            assert set(await versions(inside, 5)) == {"a2"}
            assert inside.revisions.trial is not None
            assert not yard.told(CanaryAborted)
            assert (await inside.revisions.promote(BY)).number == 2

    asyncio.run(main())


def test_who_puts_the_files_back_ends_it_and_makes_no_revision(yard: Yard) -> None:
    async def main() -> None:
        with_split(yard, 100)
        async with yard.served() as inside:
            await on_trial(yard, inside)
            yard.plugin("a", "a1")
            planned = await inside.revisions.plan()
            assert (planned.change.empty, planned.outcome, planned.revision.number) == (True, Outcome.ABORTED, 1)
            back = await inside.revisions.apply(BY)
            assert (back.outcome, back.revision.number) == (Outcome.ABORTED, 1)
            assert set(await versions(inside, 5)) == {"a1"}
            assert inside.revisions.history.next_number == 3

    asyncio.run(main())


def test_the_same_files_again_change_nothing_of_it(yard: Yard) -> None:
    async def main() -> None:
        with_split(yard, 100)
        async with yard.served() as inside:
            await on_trial(yard, inside)
            planned = await inside.revisions.plan()
            assert (planned.change.empty, planned.outcome, planned.revision.number) == (True, None, 2)
            again = await inside.revisions.apply(BY)
            assert (again.outcome, again.revision.number) == (None, 2)
            assert inside.revisions.trial is not None
            assert len(yard.told(ChangeApplied)) == 1
            assert not yard.told(RevisionDraining)

    asyncio.run(main())


def test_one_with_a_plugin_that_bears_no_second_is_no_trial(yard: Yard) -> None:
    async def main() -> None:
        with_split(yard, 100)
        yard.plugin("b", "b1", alone=True)
        async with yard.served() as inside:
            yard.plugin("a", "a2")
            yard.plugin("b", "b2", alone=True)
            assert (await inside.revisions.apply(BY)).outcome is Outcome.APPLIED
            assert set(await versions(inside, 5)) == {"a2"}
            assert inside.revisions.trial is None

    asyncio.run(main())


def test_a_replacement_ends_it_before_it_stops_what_it_uses(yard: Yard) -> None:
    async def main() -> None:
        with_split(yard, 100)
        yard.plugin("b", "b1", alone=True)
        async with yard.served() as inside:
            await on_trial(yard, inside)
            yard.plugin("a", "a1")
            yard.plugin("b", "b2", alone=True)
            assert (await inside.revisions.apply(BY)).outcome is Outcome.APPLIED
            assert marks(await yard.ask(inside)) == [("a", "a1", None), ("b", "b2", None)]
            await yard.until(lambda: len(yard.told(RevisionGone)) == 2)
            assert len(children()) == 2

    asyncio.run(main())


def test_calls_that_are_abandoned_are_not_its_fault(yard: Yard) -> None:
    async def main() -> None:
        with_split(yard, 100, minimum_calls=2)
        async with yard.served() as inside:
            await on_trial(yard, inside)
            gate = yard.gate("a")
            calls = [asyncio.ensure_future(yard.ask(inside, gate)) for _ in range(4)]
            await gate.arrived()
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
            gate.open(4)
            assert inside.revisions.trial is not None
            figures = inside.revisions.trial.record()["canary"]
            assert figures["calls"] == 0  # type: ignore[index]

    asyncio.run(main())


async def ended(inside: Orchestrator) -> None:
    """Ask until it is found to be worse."""
    for number in range(1000):
        await ask_as(inside, f"{number}")
        if inside.engine.split is None:
            return
    raise AssertionError("it was not found to be worse")


def test_one_that_is_found_to_be_worse_takes_no_call_more_and_is_not_promoted(yard: Yard) -> None:
    """Also while another change is being made, which has the turn."""

    async def main() -> None:
        with_split(yard, 50, minimum_calls=5)
        async with yard.served() as inside:
            await on_trial(yard, inside, more=FAILS)
            gate = yard.gate("start")
            yard.plugin("a", "a3", more=gate.before_start() + "    raise OSError\n")
            other = asyncio.ensure_future(refusal_of(inside.revisions.apply(BY)))
            await gate.arrived()
            promoting = asyncio.ensure_future(refusal_of(inside.revisions.promote(BY)))
            await asyncio.wait([promoting], timeout=0)
            await ended(inside)
            assert set(await versions(inside, 20)) == {"a1"}
            gate.open()
            assert (await other).code == "penstock.start"
            assert (await promoting).code == "penstock.no_canary"
            await yard.until(lambda: bool(yard.told(RevisionGone)))
            assert inside.revisions.current.number == 1
            assert inside.revisions.history.outcome(2) is Outcome.ABORTED

    asyncio.run(main())


def test_who_wanted_one_promoted_does_not_get_the_next_one(yard: Yard) -> None:
    async def main() -> None:
        with_split(yard, 50)
        async with yard.served() as inside:
            await on_trial(yard, inside)
            gate = yard.gate("start")
            yard.plugin("a", "a3", more=gate.before_start())
            other = asyncio.ensure_future(inside.revisions.apply(BY))
            await gate.arrived()
            waiting = [inside.revisions.promote(BY), inside.revisions.abort(BY, "a test")]
            asked = [asyncio.ensure_future(refusal_of(each)) for each in waiting]
            await asyncio.wait(asked, timeout=0)
            gate.open()
            assert (await other).outcome is Outcome.CANARY
            assert [(await each).code for each in asked] == ["penstock.no_canary"] * 2
            assert inside.revisions.trial is not None
            assert inside.revisions.trial.revision.number == 3

    asyncio.run(main())


def test_a_start_does_not_serve_to_all_what_was_on_trial_when_the_host_was_killed(yard: Yard) -> None:
    """Nobody has judged it. What served before serves, and the watch puts the files on trial again."""

    async def main() -> None:
        with_split(yard, 0)
        async with yard.served() as inside:
            await on_trial(yard, inside)
        async with yard.served() as inside:
            assert inside.revisions.current.number == 1
            assert set(await versions(inside, 5)) == {"a1"}
            assert inside.revisions.candidates.differs(), "the watch will look"
            assert (await inside.revisions.apply(BY)).outcome is Outcome.CANARY
            await inside.revisions.promote(BY)
        async with yard.served() as inside:
            assert set(await versions(inside, 5)) == {"a2"}

    asyncio.run(main())
