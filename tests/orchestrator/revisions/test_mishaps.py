"""What happens to changes when workers die, the store fails or a bug strikes meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

import pytest
from changing import BY, Yard, children, marks

from isolation.errors import StartError
from isolation.store.store import Prepared, Store
from orchestrator.control.refusal import Refused
from orchestrator.events import RevisionGone
from orchestrator.generations import Fleet, StartFailures, wanted_of
from orchestrator.orchestrator import Orchestrator
from orchestrator.reload.change import Action
from orchestrator.revisions.refusal import ChangeNotMade


def worker_of(inside: Orchestrator, plugin: str) -> int:
    return inside.generations[plugin].workers[0].pid


def test_a_worker_that_dies_before_its_call_ends_does_not_keep_its_revision(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            gate, old = yard.gate("a"), worker_of(inside, "a")
            under_way = asyncio.ensure_future(yard.ask(inside, gate))
            await gate.arrived()
            yard.plugin("a", "a2")
            await inside.revisions.apply(BY)
            os.kill(old, signal.SIGKILL)
            lost = await under_way
            assert lost.verdict == "deny"
            assert lost.reply.violation is not None
            assert lost.reply.violation.code == "penstock.worker_lost"
            await yard.until(lambda: bool(yard.told(RevisionGone)))
            assert marks(await yard.ask(inside)) == [("a", "a2", None), ("b", "b1", None)]
            assert len(children()) == 2

    asyncio.run(main())


@pytest.mark.parametrize("change", ["with", "code"])
def test_a_worker_that_dies_while_a_change_is_made_is_there_again_after_it(yard: Yard, change: str) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            if change == "with":
                yard.set_with("a", 2)
            else:
                yard.plugin("b", "b2")
            os.kill(worker_of(inside, "a"), signal.SIGKILL)
            applied = await inside.revisions.apply(BY)
            assert applied.change.plugins["a"] is (Action.RECONFIGURE if change == "with" else Action.KEEP)
            await yard.until(lambda: inside.generations["a"].ready)
            expected = (
                [("a", "a1", 2), ("b", "b1", None)] if change == "with" else [("a", "a1", None), ("b", "b2", None)]
            )
            assert marks(await yard.ask(inside)) == expected

    asyncio.run(main())


def test_a_new_generation_whose_worker_dies_at_once_is_started_again_like_any_other(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            yard.plugin("a", "a2")
            await inside.revisions.apply(BY)
            first = worker_of(inside, "a")
            os.kill(first, signal.SIGKILL)
            await yard.until(lambda: inside.generations["a"].ready and worker_of(inside, "a") != first)
            assert marks(await yard.ask(inside))[0] == ("a", "a2", None)

    asyncio.run(main())


class Grudging(Store):
    """A store with a bug: it takes nothing back."""

    asked: asyncio.Event

    def release(self, prepared: Prepared) -> None:
        """Fail."""
        self.asked.set()
        raise ZeroDivisionError(prepared.digest)


def test_a_bug_in_what_drains_is_logged_and_ends_nothing_else(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        store = Grudging(yard.store, offline=True)
        store.asked = asyncio.Event()
        with store:
            async with yard.served(store) as inside:
                for number in range(2, 7):
                    yard.plugin("a", f"a{number}")
                    await inside.revisions.apply(BY)
                await store.asked.wait()  # what is kept for a rollback is given back when others take its place
                assert marks(await yard.ask(inside))[0] == ("a", "a6", None)
                store.__class__ = Store  # type: ignore[assignment]  # what is left is given back

    with caplog.at_level(logging.ERROR, "penstock.revisions"):
        asyncio.run(main())
    assert "revisions.crashed" in [record.getMessage() for record in caplog.records]


def test_a_bug_while_a_change_is_made_is_told_to_who_asked_and_frees_the_turn(yard: Yard) -> None:
    class Confused(Store):
        def preview_all(self, wanted: object) -> list[object]:  # type: ignore[override]
            raise ZeroDivisionError

    async def main() -> None:
        with Store(yard.store, offline=True) as store:
            async with yard.served(store) as inside:
                yard.plugin("a", "a2")
                store.__class__ = Confused
                with pytest.raises(ZeroDivisionError):
                    await inside.revisions.apply(BY)
                store.__class__ = Store
                await inside.revisions.apply(BY)
                assert marks(await yard.ask(inside))[0] == ("a", "a2", None)

    asyncio.run(main())


def test_a_fleet_that_was_left_starts_nothing(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            candidate = inside.revisions.current.candidate
            wanted = wanted_of(candidate.loaded, candidate.prepared, candidate.handed)
            async with Fleet(lambda event: None) as fleet:
                pass
            before = children()
            with pytest.raises(StartFailures) as caught:
                await fleet.start(wanted)
            assert all(isinstance(failure, StartError) for failure in caught.value.failures)
            assert children() == before
            assert await fleet.start({}) == {}

    asyncio.run(main())


def test_a_start_that_is_given_up_leaves_no_process(yard: Yard) -> None:
    async def main() -> None:
        gate = yard.gate("start")
        async with yard.served() as inside:
            yard.plugin("a", "a2", more=gate.before_start())
            candidate = await asyncio.to_thread(inside.revisions.candidates.from_files, lambda event: None)
            before = children()
            async with Fleet(lambda event: None) as fleet:
                starting = asyncio.ensure_future(
                    fleet.start(wanted_of(candidate.loaded, candidate.prepared, candidate.handed))
                )
                await gate.arrived()
                starting.cancel()
                await asyncio.wait([starting])
                assert children() == before
                assert fleet.generations == ()

    asyncio.run(main())


def test_who_waits_for_a_turn_when_the_host_closes_is_told(yard: Yard, tmp_path: Path) -> None:
    async def main() -> None:
        gate = yard.gate("start")
        async with yard.served() as inside:
            yard.plugin("a", "a2", more=gate.before_start())
            changes = [asyncio.ensure_future(inside.revisions.apply(BY)) for _ in range(3)]
            await gate.arrived()
            yard.gates.clear()
        gate.close()
        done, _ = await asyncio.wait(changes)
        assert [getattr(change.exception(), "code", None) for change in done] == ["penstock.shutdown"] * 3
        late = asyncio.ensure_future(inside.revisions.apply(BY))
        await asyncio.wait([late])
        assert getattr(late.exception(), "code", None) == "penstock.shutdown"

    asyncio.run(main())


def test_a_freeze_that_cannot_be_kept_holds_and_says_that_a_restart_ends_it(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            blocked = yard.state / "revisions" / ".frozen.json.new"  # rights would not stop a superuser
            blocked.mkdir()
            with pytest.raises(Refused, match=r"is frozen, but a restart thaws it: .*frozen.json.new: ") as refused:
                await inside.control.perform("freeze", {"reason": "a full disk"}, by=BY)
            assert (refused.value.code, bool(refused.value.hint)) == ("penstock.not_kept", True)
            assert inside.freezing.on
            blocked.rmdir()
            assert await inside.control.perform("thaw", {}, by=BY) == {"frozen": False}

    asyncio.run(main())


def test_overrides_that_cannot_be_read_keep_a_host_from_starting_and_are_told_with_their_file(yard: Yard) -> None:
    async def main() -> None:
        kept = yard.state / "revisions" / "overrides.json"
        async with yard.served():
            pass  # makes the folder
        kept.write_text("[{")
        with pytest.raises(ChangeNotMade) as refused:
            async with yard.served():
                raise AssertionError("what somebody overrode was taken for enforced, or the other way round")
        assert (refused.value.code, refused.value.where) == ("penstock.overrides", str(kept))
        assert str(refused.value).startswith(f"{kept}: ")

    asyncio.run(main())
