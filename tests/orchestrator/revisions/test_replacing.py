"""A plugin of which there can be only one: it holds a lock on a file in its data directory, and cannot start twice."""

from __future__ import annotations

import asyncio

import pytest
from changing import BY, HOOK, ORDER, Gate, Yard, children, marks, refusal_of

from orchestrator.durable.durability import RunNotHad
from orchestrator.events import ChangeRefused, RevisionGone
from orchestrator.orchestrator import Orchestrator
from orchestrator.reload.change import Action

LADDER_SECONDS = 2.0
"""A worker that is stopped under its call has lost it after so long."""

LINGERS = "import atexit, threading\natexit.register(threading.Event().wait)\n"
"""A plugin that ends only when it is made to."""

NOBODY = """\
try:
    os.kill({pid}, 0)
except ProcessLookupError:
    pass
else:
    raise RuntimeError("there is another one")
"""
"""A plugin that does not start as long as another process is there."""


def alone(yard: Yard, version: str, **more: str) -> None:
    yard.plugin("b", version, alone=True, **more)


def test_never_two_of_it_at_once_and_every_call_is_answered_by_one_revision(yard: Yard) -> None:
    async def main() -> None:
        alone(yard, "b1")
        async with yard.served() as inside:
            gate = yard.gate("b")
            before = [asyncio.ensure_future(yard.ask(inside, gate)) for _ in range(3)]
            await gate.arrived()
            yard.plugin("a", "a2")
            alone(yard, "b2")
            change = asyncio.ensure_future(inside.revisions.apply(BY))
            await held(inside)
            meanwhile = [asyncio.ensure_future(yard.ask(inside)) for _ in range(10)]
            await asyncio.wait(meanwhile, timeout=0)
            assert not any(call.done() for call in meanwhile)
            gate.open(3)
            assert (await change).change.plugins == {"a": Action.SWAP, "b": Action.REPLACE}
            for call in before:
                assert marks(await call) == [("a", "a1", None), ("b", "b1", None)]
            for call in meanwhile:
                assert marks(await call) == [("a", "a2", None), ("b", "b2", None)]

    asyncio.run(main())


def test_hooks_that_do_not_need_it_are_answered_meanwhile(yard: Yard) -> None:
    async def main() -> None:
        alone(yard, "b1")
        yard.durable("a", durable=False)
        async with yard.served() as inside:
            gate = yard.gate("start")
            alone_again(yard, "b2", gate)
            change = asyncio.ensure_future(inside.revisions.apply(BY))
            await gate.arrived()  # the old one is stopped by now
            assert [mark[:2] for mark in marks(await yard.ask(inside, hook=ORDER))] == [("a", "a1")]
            waiting = asyncio.ensure_future(yard.ask(inside))
            gate.open()
            await change
            assert marks(await waiting)[1] == ("b", "b2", None)

    asyncio.run(main())


def test_the_old_one_is_back_when_the_new_one_fails(yard: Yard) -> None:
    async def main() -> None:
        alone(yard, "b1")
        async with yard.served() as inside:
            gate = yard.gate("start")
            alone_again(yard, "b2", gate, "import nonsense\n")
            (yard.folder / "b" / "plugin.py").write_text(
                (yard.folder / "b" / "plugin.py")
                .read_text()
                .replace("        go.read(1)\n", "        raise OSError(9)\n")
            )
            change = asyncio.ensure_future(refusal_of(inside.revisions.apply(BY)))
            await held(inside)
            meanwhile = [asyncio.ensure_future(yard.ask(inside)) for _ in range(5)]
            refused = await change
            assert refused.code == "penstock.start"
            for call in meanwhile:
                assert marks(await call) == [("a", "a1", None), ("b", "b1", None)]
            assert inside.revisions.current.number == 1
            assert len(yard.told(ChangeRefused)) == 1
            assert len(children()) == 2
            alone(yard, "b3")  # and it can be replaced again
            await inside.revisions.apply(BY)
            assert marks(await yard.ask(inside))[1] == ("b", "b3", None)

    asyncio.run(main())


def test_a_breaker_that_was_open_is_open_when_the_old_one_is_back(yard: Yard) -> None:
    async def main() -> None:
        alone(yard, "b1")
        stages = yard.file["pipelines"]["second"]["stages"]
        stages["mark"]["breaker"] = {"window": 10}  # type: ignore[index]
        yard.save()
        async with yard.served() as inside:
            (breaker,) = inside.breakers.find("b")
            breaker.force_open("a test")
            alone(yard, "b2", more="import nonsense\n")
            await refusal_of(inside.revisions.apply(BY))
            assert inside.breakers.find("b") == (breaker,)
            assert (await yard.ask(inside)).verdict == "deny"

    asyncio.run(main())


def test_a_run_that_waits_for_its_caller_has_the_change_refused_by_its_name(yard: Yard) -> None:
    async def main() -> None:
        alone(yard, "b1")
        yard.durable("b", confirm_within="10m", deadline="1s")
        async with yard.served() as inside:
            for pipeline in ("first", "second"):
                yard.file["pipelines"][pipeline]["deadline"] = "1s"
            yard.save()
            await inside.revisions.apply(BY)
            held_run = (await yard.ask(inside, hook=ORDER)).reply.run_id
            assert held_run is not None
            before = children()
            alone(yard, "b2")
            refused = await refusal_of(inside.revisions.apply(BY))
            assert refused.code == "penstock.still_needed"
            assert held_run in str(refused)
            assert children() == before
            assert marks(await yard.ask(inside))[1] == ("b", "b1", None)
            assert await inside.confirm(held_run)
            await inside.revisions.apply(BY)
            assert marks(await yard.ask(inside))[1] == ("b", "b2", None)

    asyncio.run(main())


def test_a_held_call_is_answered_by_its_deadline(yard: Yard) -> None:
    async def main() -> None:
        alone(yard, "b1")
        async with yard.served() as inside:
            gate = yard.gate("start")
            alone_again(yard, "b2", gate)
            change = asyncio.ensure_future(inside.revisions.apply(BY))
            await gate.arrived()
            late = await inside.invoke(HOOK, {"name": "x", "args": {}}, within_seconds=0.05)
            assert late.verdict == "deny"
            assert late.reply.violation is not None
            assert late.reply.violation.code == "penstock.timeout"
            left = asyncio.ensure_future(yard.ask(inside))
            await asyncio.wait([left], timeout=0)
            left.cancel()
            await asyncio.wait([left])
            assert inside.engine.under_way == 0
            gate.open()
            await change

    asyncio.run(main())


def test_a_held_call_is_denied_when_the_host_closes(yard: Yard) -> None:
    async def main() -> None:
        alone(yard, "b1")
        gate = Gate(yard.folder, "start")
        async with yard.served() as inside:
            alone_again(yard, "b2", gate)
            change = asyncio.ensure_future(inside.revisions.apply(BY))
            await gate.arrived()
            waiting = asyncio.ensure_future(yard.ask(inside))
            await asyncio.wait([waiting], timeout=0)
        gate.close()
        assert (await waiting).verdict == "deny"
        error = (await asyncio.wait([change]))[0].pop().exception()
        assert getattr(error, "code", None) == "penstock.shutdown"
        assert not children()

    asyncio.run(main())


def test_a_held_call_whose_hook_is_withdrawn_is_denied(yard: Yard) -> None:
    async def main() -> None:
        alone(yard, "b1")
        yard.durable("b", durable=False)
        async with yard.served() as inside:
            gate = yard.gate("start")
            alone_again(yard, "b2", gate)
            del yard.file["pipelines"]["lasting"], yard.file["hooks"][ORDER]
            yard.save()
            change = asyncio.ensure_future(inside.revisions.apply(BY))
            await gate.arrived()
            waiting = asyncio.ensure_future(yard.ask(inside, hook=ORDER))
            await asyncio.wait([waiting], timeout=0)
            gate.open()
            await change
            assert (await waiting).verdict == "deny"

    asyncio.run(main())


def test_a_hook_that_needs_it_only_after_the_change_is_answered_at_once(yard: Yard) -> None:
    async def main() -> None:
        alone(yard, "b1")
        async with yard.served() as inside:
            gate = yard.gate("start")
            alone_again(yard, "b2", gate)
            yard.durable("b", durable=False)
            change = asyncio.ensure_future(inside.revisions.apply(BY))
            await gate.arrived()
            assert (await yard.ask(inside, hook=ORDER)).verdict == "allow"
            gate.open()
            await change
            assert marks(await yard.ask(inside, hook=ORDER)) == [("b", "b2", None)]

    asyncio.run(main())


def test_what_drains_on_another_hook_is_waited_for_too(yard: Yard) -> None:
    async def main() -> None:
        alone(yard, "b1")
        yard.durable("b", durable=False)
        async with yard.served() as inside:
            gate = yard.gate("b")
            under_way = asyncio.ensure_future(yard.ask(inside, gate, hook=ORDER))
            await gate.arrived()
            del yard.file["pipelines"]["lasting"]
            yard.save()
            await inside.revisions.apply(BY)  # nothing that serves uses b on that hook any more, but a call does
            alone(yard, "b2")
            change = asyncio.ensure_future(inside.revisions.apply(BY))
            await held(inside)
            ended, _ = await asyncio.wait([change, under_way], timeout=LADDER_SECONDS)
            assert not ended
            gate.open()
            assert marks(await under_way) == [("b", "b1", None)]
            assert (await change).revision.number == 3
            await yard.until(lambda: len(yard.told(RevisionGone)) == 2)
            assert len(children()) == 2

    asyncio.run(main())


def test_a_first_version_that_must_be_alone_waits_for_what_drains_of_those_that_need_not(yard: Yard) -> None:
    async def main() -> None:
        yard.plugin("b", "b1", more=LINGERS)
        async with yard.served() as inside:
            gate = yard.gate("b")
            under_way = asyncio.ensure_future(yard.ask(inside, gate))
            await gate.arrived()
            first = {worker.pid for worker in inside.generations["b"].workers}
            yard.plugin("b", "b2")
            await inside.revisions.apply(BY)
            alone(yard, "b3", more=NOBODY.format(pid=min(first)))
            change = asyncio.ensure_future(inside.revisions.apply(BY))
            await held(inside)
            assert first <= children()
            gate.open()
            assert marks(await under_way)[1] == ("b", "b1", None)
            await change
            assert not first & children()
            assert marks(await yard.ask(inside))[1] == ("b", "b3", None)

    asyncio.run(main())


async def held(inside: Orchestrator) -> None:
    """Wait until calls are held: the change has come as far as that. Nothing tells so; nobody else has to know."""
    for _ in range(10_000_000):
        if inside.engine._held:
            return
        await asyncio.sleep(0)
    raise AssertionError("no call is held")


def alone_again(yard: Yard, version: str, gate: Gate, more: str = "") -> None:
    """A next version that waits at a gate when it has got the lock."""
    alone(yard, version, more=more)
    code = yard.folder / "b" / "plugin.py"
    waits = gate.before_start().split("\n", 3)[3]
    held_lock = "    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    code.write_text(code.read_text().replace(held_lock, held_lock + waits))


def test_it_is_not_started_beside_one_that_drains_after_it_was_taken_out(yard: Yard) -> None:
    async def main() -> None:
        alone(yard, "b1")
        async with yard.served() as inside:
            gate = yard.gate("b")
            under_way = asyncio.ensure_future(yard.ask(inside, gate))
            await gate.arrived()
            plugin, pipeline = yard.file["plugins"].pop("b"), yard.file["pipelines"].pop("second")
            yard.save()
            await inside.revisions.apply(BY)
            yard.file["plugins"]["b"], yard.file["pipelines"]["second"] = plugin, pipeline
            yard.save()
            refused = await refusal_of(inside.revisions.apply(BY))
            assert (refused.code, refused.where) == ("penstock.start", "b")
            assert "bears no second" in str(refused)
            gate.open()
            assert marks(await under_way)[1] == ("b", "b1", None)
            await yard.until(lambda: bool(yard.told(RevisionGone)))
            await inside.revisions.apply(BY)
            assert marks(await yard.ask(inside))[1] == ("b", "b1", None)

    asyncio.run(main())


def test_an_earlier_one_is_not_started_for_a_parked_run_while_another_serves(yard: Yard) -> None:
    """It can be resumed when its own revision serves again."""

    async def main() -> None:
        yard.plugin("b", "b1", reload="replace")
        yard.durable("b")
        stuck = yard.ledger.with_name("ledger.stuck")
        stuck.touch()
        async with yard.served() as inside:
            run = (await yard.ask(inside, hook=ORDER)).reply.run_id
            assert run is not None
            await inside.settled(await inside.compensate(run))
            yard.plugin("b", "b2", reload="replace")
            await inside.revisions.apply(BY)
            await yard.until(lambda: bool(yard.told(RevisionGone)))
            stuck.unlink()
            before = children()
            with pytest.raises(RunNotHad, match="bears no second"):
                await inside.resume(run)
            assert children() == before
            await inside.revisions.rollback(None, BY)
            resumed = await inside.resume(run)
            await inside.settled(resumed)
            assert resumed.status == "undone"

    asyncio.run(main())
