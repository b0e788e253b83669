"""Going back to a revision that served before: which one, what it has again, and when it cannot be had."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from changing import BY, Building, Yard, children, marks, refusal_of

from isolation.store.store import Store
from orchestrator.events import ChangeRefused, RevisionGone
from orchestrator.orchestrator import Orchestrator
from orchestrator.reload.change import Action
from orchestrator.revisions.history import NoSuchRevision, Outcome
from orchestrator.revisions.refusal import ChangeNotMade


async def change_to(yard: Yard, inside: Orchestrator, version: str) -> int:
    """Apply another version of the plugin `a`; return the number of the revision."""
    yard.plugin("a", version)
    return (await inside.revisions.apply(BY)).revision.number


async def serving(yard: Yard, inside: Orchestrator) -> str:
    """The version of `a` that answers."""
    return marks(await yard.ask(inside))[0][1]


def test_a_rollback_undoes_the_last_change_and_the_next_one_that_before(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            for version in ("a2", "a3"):
                await change_to(yard, inside, version)
            b = inside.generations["b"]
            for wanted, number, of in (("a2", 4, 2), ("a1", 5, 1)):
                back = await inside.revisions.rollback(None, BY)
                assert (back.revision.number, back.revision.of, back.outcome) == (number, of, Outcome.APPLIED)
                assert back.change.plugins == {"a": Action.SWAP, "b": Action.KEEP}
                assert await serving(yard, inside) == wanted
                entry = inside.revisions.history.entries[-1]
                assert (entry.number, entry.of, entry.after) == (number, of, number - 1)
            assert inside.generations["b"] is b
            with pytest.raises(NoSuchRevision):
                await inside.revisions.rollback(None, BY)
            assert await serving(yard, inside) == "a1"

    asyncio.run(main())


def test_what_was_rolled_back_is_not_come_back_to_by_the_rollback_of_the_next_change(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            await change_to(yard, inside, "bad")
            await inside.revisions.rollback(None, BY)
            await change_to(yard, inside, "worse")
            await inside.revisions.rollback(None, BY)
            assert await serving(yard, inside) == "a1"

    asyncio.run(main())


def test_a_rollback_to_a_number_has_its_file_and_its_configurations_again(yard: Yard) -> None:
    async def main() -> None:
        yard.set_with("a", 1)
        async with yard.served() as inside:
            yard.set_with("a", 2)
            await inside.revisions.apply(BY)
            del yard.file["plugins"]["b"], yard.file["pipelines"]["second"]
            yard.set_with("a", 3)
            await inside.revisions.apply(BY)
            back = await inside.revisions.rollback(1, BY)
            assert back.change.plugins == {"a": Action.RECONFIGURE, "b": Action.START}
            assert marks(await yard.ask(inside)) == [("a", "a1", 1), ("b", "b1", None)]

    asyncio.run(main())


def test_a_rollback_to_what_serves_does_nothing(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            await change_to(yard, inside, "a2")
            back = await inside.revisions.rollback(2, BY)
            assert (back.outcome, inside.revisions.current.number) == (None, 2)

    asyncio.run(main())


@pytest.mark.parametrize("number", [0, 7, -1])
def test_a_number_that_was_never_given_is_told_with_those_that_were(yard: Yard, number: int) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            await change_to(yard, inside, "a2")
            yard.plugin("a", "a3", more="import nonsense\n")
            await refusal_of(inside.revisions.apply(BY))
            with pytest.raises(NoSuchRevision, match="the latest are 1, 2"):
                await inside.revisions.rollback(number, BY)
            with pytest.raises(NoSuchRevision):
                await inside.revisions.rollback(3, BY)  # it was refused, so it has no number
            assert await serving(yard, inside) == "a2"

    asyncio.run(main())


def test_a_plan_that_was_rolled_back_to_is_kept_as_it_was(yard: Yard) -> None:
    """Also when its plugin's folder is a link, and when it is rolled back to a second time."""

    async def main() -> None:
        (yard.folder / "a").rename(yard.folder / "release-1")
        (yard.folder / "a").symlink_to("release-1")
        async with yard.served() as inside:
            (yard.folder / "a").unlink()
            yard.plugin("a", "a2")
            await inside.revisions.apply(BY)
            await inside.revisions.rollback(1, BY)
            await inside.revisions.rollback(2, BY)
            history = inside.revisions.history
            assert history.archive(3) == history.archive(1)
            await inside.revisions.rollback(3, BY)
            assert await serving(yard, inside) == "a1"
            assert inside.revisions.current.of == 1

    asyncio.run(main())


def test_a_host_goes_back_to_what_an_earlier_host_served(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            await change_to(yard, inside, "a2")
        yard.plugin("a", "a3")
        async with yard.served() as inside:
            assert inside.revisions.current.number == 3
            assert (await inside.revisions.rollback(None, BY)).revision.of == 2
            assert await serving(yard, inside) == "a2"
            assert (await inside.revisions.rollback(None, BY)).revision.of == 1
            assert await serving(yard, inside) == "a1"

    asyncio.run(main())


def test_a_collection_between_two_hosts_leaves_what_the_last_three_need(tmp_path: Path) -> None:
    async def main() -> None:
        yard = Yard(tmp_path / "yard", tmp_path / "store")
        async with yard.served() as inside:
            for number in range(2, 7):
                await change_to(yard, inside, f"a{number}")
        with Store(yard.store, offline=True) as store:
            removed = store.gc().removed
        assert len(removed) == 2  # the snapshots of a1 and a2
        async with yard.served() as inside:
            assert inside.revisions.current.number == 6
            for number in (3, 4, 5):
                await inside.revisions.rollback(number, BY)
                assert await serving(yard, inside) == f"a{number}"
            before, current = children(), inside.revisions.current  # what drains may end meanwhile
            refused = await refusal_of(inside.revisions.rollback(1, BY))
            assert refused.where == "a"
            assert "is gone" in str(refused)
            assert len(yard.told(ChangeRefused)) == 1
            assert children() <= before
            assert inside.revisions.current is current
            assert await serving(yard, inside) == "a5"

    asyncio.run(main())


def test_a_collection_while_a_host_serves_leaves_what_a_rollback_needs(tmp_path: Path) -> None:
    async def main() -> None:
        yard = Yard(tmp_path / "yard", tmp_path / "store")
        async with yard.served() as inside:
            for number in range(2, 7):
                await change_to(yard, inside, f"a{number}")
            with Store(yard.store, offline=True) as other:
                other.gc()
            for wanted in ("a5", "a4", "a3"):
                await inside.revisions.rollback(None, BY)
                assert await serving(yard, inside) == wanted

    asyncio.run(main())


def test_a_rollback_needs_neither_the_file_nor_the_folders(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            await change_to(yard, inside, "a2")
            yard.path.write_text("nonsense: [")
            (yard.folder / "a" / "plugin.py").unlink()
            await inside.revisions.rollback(None, BY)
            assert await serving(yard, inside) == "a1"

    asyncio.run(main())


def test_a_start_does_not_bring_back_what_was_rolled_back_from(yard: Yard) -> None:
    """Neither a machine that starts again at night nor the watch undoes a rollback; a change of the files does."""

    async def main() -> None:
        async with yard.served() as inside:
            yard.plugin("a", "a2")
            await inside.revisions.apply(BY)
            await inside.revisions.rollback(None, BY)
        async with yard.served() as inside:
            assert inside.revisions.current.number == 3
            assert marks(await yard.ask(inside))[0][1] == "a1"
            assert not inside.revisions.candidates.differs(), "the watch sees nothing to apply"
            await inside.revisions.apply(BY)  # somebody asks for it after all
            assert marks(await yard.ask(inside))[0][1] == "a2"
            await inside.revisions.rollback(None, BY)
        yard.plugin("a", "a4")
        async with yard.served() as inside:
            assert marks(await yard.ask(inside))[0][1] == "a4"

    asyncio.run(main())


def test_a_start_does_not_bring_back_what_was_rolled_back_from_where_the_file_names_secrets(yard: Yard) -> None:
    async def main() -> None:
        yard.secret("a", "a1")
        async with yard.served() as inside:
            yard.secret("a", "a2")
            await inside.revisions.apply(BY)
            await inside.revisions.rollback(None, BY)
        async with yard.served() as inside:
            assert await serving(yard, inside) == "a1"

    asyncio.run(main())


def test_a_start_that_was_told_to_follow_the_files_settles_that(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            await change_to(yard, inside, "a2")
            await inside.revisions.rollback(None, BY)
        async with yard.served(follows_files=True) as inside:
            assert await serving(yard, inside) == "a2"
        async with yard.served() as inside:
            assert (await serving(yard, inside), inside.revisions.current.number) == ("a2", 4)
        assert "revision.kept" not in caplog.messages

    asyncio.run(main())


def test_a_revision_whose_plan_is_gone_is_told_from_one_that_never_was(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            await change_to(yard, inside, "a2")
            (yard.state / "revisions" / "000001.plan").unlink()
            with pytest.raises(NoSuchRevision, match="the plan of revision 1 is gone"):
                await inside.revisions.rollback(1, BY)
            with pytest.raises(NoSuchRevision, match="there is no revision 7; the latest are 1, 2"):
                await inside.revisions.rollback(7, BY)

    asyncio.run(main())


def commit(yard: Yard) -> str:
    """Put what the yard holds under version control; return the commit."""
    by = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    git = ["git", "-C", str(yard.folder), *by]
    for words in (["init", "--quiet"], ["add", "a", "b", "pipeline.yaml"], ["commit", "--quiet", "--message", "more"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    found = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def test_it_is_noted_with_the_commit_that_it_was_made_of(yard: Yard) -> None:
    async def main() -> None:
        first = commit(yard)
        async with yard.served() as inside:
            yard.plugin("a", "a2")
            second = commit(yard)
            await inside.revisions.apply(BY)
            await inside.revisions.rollback(None, BY)
            noted = [entry.commit.rstrip("+") for entry in inside.revisions.history.entries]
            assert noted == [first, second, first]

    asyncio.run(main())


@asynccontextmanager
async def building(yard: Yard, version: str) -> AsyncIterator[tuple[Orchestrator, Building, asyncio.Future[object]]]:
    """A host at revision 2 with `a2`, the store that it waits for, and the change to a version that it waits with."""
    with Store(yard.store, offline=True) as store:
        async with yard.served(store) as inside:
            await change_to(yard, inside, "a2")
            busy = Building.become(store)
            try:
                applying: asyncio.Future[object] = asyncio.ensure_future(change_or_refusal(yard, inside, version))
                await asyncio.to_thread(busy.began.wait)
                yield inside, busy, applying
            finally:
                busy.ready.set()


async def change_or_refusal(yard: Yard, inside: Orchestrator, version: str) -> object:
    try:
        return await change_to(yard, inside, version)
    except ChangeNotMade as error:
        return error.code


def test_a_change_that_is_being_built_is_shown_until_it_is_made_or_refused(yard: Yard) -> None:
    async def main() -> None:
        async with building(yard, "a3") as (inside, busy, applying):
            under_way = inside.revisions.under_way
            assert under_way is not None and under_way.by == BY
            busy.ready.set()
            assert await applying == 3
            assert inside.revisions.under_way is None
            yard.plugin("a", "a4", more="def (")
            with pytest.raises(ChangeNotMade):
                await inside.revisions.apply(BY)
            assert inside.revisions.under_way is None

    asyncio.run(main())


def test_what_serves_since_a_moment_can_be_rolled_back_from_before_it_is_written_down(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            applying = asyncio.ensure_future(change_to(yard, inside, "a2"))
            for _ in iter(lambda: inside.revisions.current.number, 2):  # no event is soon enough
                await asyncio.sleep(0)
            assert inside.revisions.history.outcome(2) is None, "the history is still to be written"
            back = await inside.revisions.rollback(None, BY)
            assert (back.revision.number, back.revision.of) == (3, 1)
            assert await serving(yard, inside) == "a1"
            assert await applying == 2

    asyncio.run(main())


def test_it_does_not_wait_for_the_environments_of_another_change(yard: Yard) -> None:
    async def main() -> None:
        async with building(yard, "a3") as (inside, busy, applying):
            await inside.revisions.rollback(None, BY)
            assert await serving(yard, inside) == "a1"
            assert not busy.ready.is_set()
            assert await applying == "penstock.gave_way"
            refused, back = inside.revisions.history.entries[-2:]
            assert (refused.outcome, refused.code, back.of) == (Outcome.REFUSED, "penstock.gave_way", 1)
            assert not inside.revisions.candidates.differs(), "the watch does not try it again by itself"
            busy.ready.set()
            assert await change_to(yard, inside, "a3") == 4
            assert await serving(yard, inside) == "a3"

    asyncio.run(main())


def test_one_that_cannot_be_made_takes_no_other_change_away(yard: Yard) -> None:
    async def main() -> None:
        async with building(yard, "a3") as (inside, busy, applying):
            with pytest.raises(NoSuchRevision):
                await inside.revisions.rollback(7, BY)
            busy.ready.set()
            assert await applying == 3
            assert await serving(yard, inside) == "a3"

    asyncio.run(main())


def test_it_does_not_wait_for_another_change_to_start(yard: Yard) -> None:
    async def main() -> None:
        gate = yard.gate("start")
        async with yard.served() as inside:
            await change_to(yard, inside, "a2")
            yard.plugin("a", "a3", more=gate.before_start())
            applying = asyncio.ensure_future(refusal_of(inside.revisions.apply(BY)))
            await gate.arrived()
            await inside.revisions.rollback(None, BY)
            assert (await applying).code == "penstock.gave_way"
            assert await serving(yard, inside) == "a1"
            await yard.until(lambda: {event.revision for event in yard.told(RevisionGone)} == {1, 2})
            assert children() == {worker.pid for each in inside.generations.values() for worker in each.workers}

    asyncio.run(main())
