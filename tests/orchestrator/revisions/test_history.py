"""The history on disk: entries survive restarts, torn lines and kills; the same content keeps its number."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from changing import BY, Host, Yard, marks, refusal_of

from orchestrator.revisions.history import Entry, History, NoSuchRevision, Outcome


def test_the_same_content_continues_its_number_and_another_one_gets_the_next(yard: Yard) -> None:
    async def main() -> None:
        for expected, version in ((1, "a1"), (1, "a1"), (2, "a2"), (2, "a2"), (3, "a1")):
            yard.plugin("a", version)
            async with yard.served() as inside:
                assert inside.revisions.current.number == expected
                assert marks(await yard.ask(inside))[0][1] == version
        entries = inside.revisions.history.entries
        assert [(entry.number, entry.after, entry.by) for entry in entries] == [
            (1, 0, "start"),
            (2, 1, "start"),
            (3, 2, "start"),
        ]

    asyncio.run(main())


def test_a_plan_that_was_rolled_back_to_stays_that_plan_after_a_restart(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            yard.plugin("a", "a2")
            await inside.revisions.apply(BY)
            await inside.revisions.rollback(None, BY)
        yard.plugin("a", "a1")
        async with yard.served() as inside:
            assert (inside.revisions.current.number, inside.revisions.current.of) == (3, 1)
            with pytest.raises(NoSuchRevision):
                await inside.revisions.rollback(None, BY)

    asyncio.run(main())


def test_every_change_is_written_with_who_what_and_from_which_files(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            yard.plugin("a", "a2")
            await inside.revisions.apply("watcher")
            yard.plugin("a", "a3", more="import nonsense\n")
            await refusal_of(inside.revisions.apply("uid:7"))
        lines = [json.loads(line) for line in (yard.state / "revisions" / "history.jsonl").read_text().splitlines()]
        assert [(line["outcome"], line["by"], line.get("number", 0)) for line in lines] == [
            ("applied", "start", 1),
            ("applied", "watcher", 2),
            ("refused", "uid:7", 0),
        ]
        assert lines[1]["change"]["plugins"] == {"a": "swap", "b": "keep"}
        assert lines[1]["files"] == [str(yard.path)]
        assert lines[2]["code"] == "penstock.start"

    asyncio.run(main())


def test_a_torn_last_line_costs_itself_alone(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.load()
    for number in (1, 2):
        history.add(Entry(at=float(number), by=BY, outcome=Outcome.APPLIED, number=number))
    written = tmp_path / "history.jsonl"
    whole = written.read_bytes()
    for length in range(whole.index(b"\n") + 1, len(whole)):
        written.write_bytes(whole[:length])
        again = History(tmp_path)
        again.load()
        known = [1, 2] if length == len(whole) - 1 else [1]
        assert [entry.number for entry in again.entries] == known
        again.add(Entry(at=3.0, by=BY, outcome=Outcome.APPLIED, number=3))
        last = History(tmp_path)
        last.load()
        assert [entry.number for entry in last.entries] == [*known, 3]


def test_no_number_is_given_twice_also_where_its_entry_was_lost(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.load()
    history.keep(history.next_number, b"plan")
    again = History(tmp_path)
    again.load()
    assert again.next_number == 2


@pytest.mark.parametrize("folder", [True, False], ids=["on disk", "in memory"])
def test_a_number_that_was_discarded_is_given_again(tmp_path: Path, folder: bool) -> None:
    history = History(tmp_path if folder else None)
    history.load()
    history.keep(1, b"plan")
    history.discard(1)
    assert history.next_number == 1
    with pytest.raises(NoSuchRevision):
        history.archive(1)


def test_only_the_newest_entries_and_the_plans_that_they_name_are_kept(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.load()
    for number in range(1, 1200):
        history.entries.append(Entry(at=0.0, by=BY, outcome=Outcome.APPLIED, number=number, after=number - 1))
    lines = b"".join(
        json.dumps({"at": 0, "by": BY, "outcome": "applied", "number": n, "after": n - 1}).encode() + b"\n"
        for n in range(1, 1200)
    )
    (tmp_path / "history.jsonl").write_bytes(lines)
    for number in range(1, 1200):
        (tmp_path / f"{number:06}.plan").write_bytes(b"plan")
    again = History(tmp_path)
    again.load()
    assert [entry.number for entry in again.entries] == list(range(200, 1200))
    assert sorted(int(path.stem) for path in tmp_path.glob("*.plan")) == list(range(199, 1200))
    assert again.next_number == 1200


def test_numbers_and_entries_survive_a_kill(yard: Yard) -> None:
    with Host(yard) as host:
        assert host.ask(revisions=True) == [1, [1]]
        yard.plugin("a", "a2")
        assert host.ask(apply=True) == 2
        host.kill()
    with Host(yard) as host:
        assert host.ask(revisions=True) == [2, [1, 2]]
        yard.plugin("a", "a3")
        host.tell(apply=True)
        host.kill()  # somewhere on its way
    with Host(yard) as host:
        current, entries = host.ask(revisions=True)
        assert current in (3, 4)
        assert entries[:2] == [1, 2]
        assert entries[-1] == current
        yard.plugin("a", "a4")
        assert host.ask(apply=True) == current + 1


def test_a_host_that_cannot_start_leaves_no_plan_behind(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served():
            pass
        yard.plugin("a", "a2", more="import nonsense\n")
        for _ in range(2):
            with pytest.raises(Exception, match="nonsense"):
                async with yard.served():
                    pass
        assert [path.name for path in (yard.state / "revisions").glob("*.plan")] == ["000001.plan"]

    asyncio.run(main())
