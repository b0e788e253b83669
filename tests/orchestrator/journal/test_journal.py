"""What a journal promises to those who submit and those who read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from keeper import COMPLETED, PLAN, Gate, Keeper, event, row

from orchestrator.journal.errors import (
    BodyTooLarge,
    EntryRefused,
    JournalClosed,
    JournalError,
    JournalFailed,
    JournalFull,
    KeyTaken,
)
from orchestrator.journal.journal import MAX_BODY_BYTES
from orchestrator.journal.rows import EventRow, RunRow, RunStatus, RunUpdate

Opened = Callable[..., Keeper]


def test_what_is_written_is_read_as_it_was(opened: Opened) -> None:
    """Every field of a run and of an event, now and after the journal was opened again."""
    run = row("r", key="k" * 64, key_digest="d" * 64, confirm_by=7.25, body=bytes(range(256)), verdict="allow")
    first, second = event("r", 0), EventRow("r", 1, "denied", b"", b"", 3.0625)
    keeper = opened(machine=4)
    keeper.journal.begin(run, first, keeper.hear)
    keeper.journal.note(second, keeper.hear)
    assert keeper.settle(2) == [None, None]
    for reopen in (False, True):
        journal = _reopened(opened, keeper, machine=5).journal if reopen else keeper.journal
        assert journal.run("r") == replace(run, machine=4)
        assert journal.events("r") == [first, second]
        assert journal.plan(PLAN) == b"the plan"


def _reopened(opened: Opened, keeper: Keeper, **options: object) -> Keeper:
    keeper.close()
    return opened(keeper.folder, **options)


def test_what_was_never_written_is_not_there(keeper: Keeper) -> None:
    """None and nothing, not an error."""
    journal = keeper.journal
    assert (journal.run("r"), journal.by_key("orders", "k"), journal.plan("p")) == (None, None, None)
    assert [*journal.events("r"), *journal.runs(), *journal.unfinished()] == []


def test_an_update_changes_what_it_names(keeper: Keeper) -> None:
    """With an event or alone; None is a value, what is not named stays."""
    before = row("r", confirm_by=7.0, reason="because")
    keeper.begin(before)
    update = RunUpdate(status=RunStatus.CONFIRMING, verdict="modify", confirm_by=8.0)
    assert keeper.note(event("r", 1), update) is None
    expected = replace(before, status=RunStatus.CONFIRMING, verdict="modify", confirm_by=8.0, machine=1)
    assert keeper.journal.run("r") == expected
    assert keeper.mark("r", RunUpdate(confirm_by=None, delivered=True, ended_at=9.5)) is None
    assert keeper.journal.run("r") == replace(expected, confirm_by=None, delivered=True, ended_at=9.5)


def test_a_finished_run_can_be_taken_up_again(opened: Opened) -> None:
    """It was completed, the journal was opened anew, and then it is undone."""
    keeper = opened()
    keeper.fill("r", 3)
    keeper.mark("r", COMPLETED)
    again = _reopened(opened, keeper)
    assert again.note(event("r", 3), RunUpdate(status=RunStatus.UNDONE)) is None
    assert again.note(event("r", 4)) is None
    assert [each.seq for each in again.journal.events("r")] == [0, 1, 2, 3, 4]
    found = again.journal.run("r")
    assert found is not None and found.status is RunStatus.UNDONE


def test_a_taken_key_names_the_run_that_has_it(keeper: Keeper) -> None:
    """Whether that run is on the disk or comes in the same group; another pipeline has keys of its own."""
    first = row("r1", key="k")
    keeper.begin(first)
    keeper.mark("r1", RunUpdate(verdict="deny"))
    taken = keeper.begin(row("r2", key="k"))
    assert isinstance(taken, KeyTaken) and taken.existing == keeper.journal.run("r1")
    assert taken.existing.verdict == "deny"
    assert keeper.begin(row("r3", key="k", pipeline="other")) is None
    assert keeper.journal.run("r2") is None and keeper.journal.events("r2") == []
    assert keeper.journal.by_key("orders", "k") == taken.existing
    assert isinstance(keeper.note(event("r2", 1)), EntryRefused)


def test_of_two_runs_with_one_key_in_one_group_the_first_has_it(opened: Opened) -> None:
    """The second hears so after the first is on the disk."""
    gate = Gate()
    keeper = opened(clock=gate)
    _hold(keeper, gate)
    for name in ("r1", "r2", "r3"):
        keeper.journal.begin(row(name, key="k"), event(name, 0), keeper.hear)
    gate.lift()
    outcomes = keeper.settle(4)[1:]
    assert outcomes[0] is None
    assert [one.existing.id for one in outcomes[1:] if isinstance(one, KeyTaken)] == ["r1", "r1"]


def _hold(keeper: Keeper, gate: Gate) -> None:
    """Keep the writer before a group of one, so that all that follows becomes the next group."""
    gate.shut()
    keeper.journal.put_plan("held", b"", keeper.hear)
    assert gate.reached.wait(60)


def test_a_group_wakes_the_loop_once_and_in_order(opened: Opened) -> None:
    """What gathered while the disk was busy becomes one transaction and one wake-up."""
    gate = Gate()
    keeper = opened(clock=gate)
    keeper.begin(row("r"))
    _hold(keeper, gate)
    before = keeper.loop.wakes
    order: list[int] = []
    for seq in range(1, 101):
        keeper.journal.note(event("r", seq), lambda error, seq=seq: order.append(seq))  # type: ignore[misc]
    gate.lift()
    keeper.loop.until(lambda: len(order) == 100)
    assert order == [*range(1, 101)]
    assert keeper.loop.wakes - before == 2


def test_nobody_hears_before_the_commit(opened: Opened) -> None:
    """While the writer has not committed nothing is told; once told, another connection reads it."""
    gate = Gate()
    keeper = opened(clock=gate)
    keeper.begin(row("r"))
    gate.shut()
    keeper.journal.note(event("r", 1), keeper.hear)
    assert gate.reached.wait(60)
    assert keeper.loop.wakes == 2 and len(keeper.journal.events("r")) == 1
    gate.lift()
    assert keeper.settle() == [None]
    assert len(keeper.journal.events("r")) == 2


def test_done_is_called_on_the_thread_that_turns_the_loop(keeper: Keeper) -> None:
    """Never on the writer's."""
    threads: list[threading.Thread] = []
    keeper.journal.begin(row("r"), event("r", 0), lambda error: threads.append(threading.current_thread()))
    keeper.loop.until(lambda: threads)
    assert threads == [threading.current_thread()]


def test_what_one_raises_costs_no_other_its_outcome(opened: Opened) -> None:
    """It goes to the loop's own handling of errors; the others are told, in order."""
    gate = Gate()
    keeper = opened(clock=gate)
    keeper.begin(row("r"))
    _hold(keeper, gate)
    told: list[int] = []

    def tell(seq: int) -> Callable[[JournalError | None], None]:
        return lambda error: told.append(seq * (6 // (seq - 3)) * 0 + seq)

    for seq in range(1, 7):
        keeper.journal.note(event("r", seq), tell(seq))
    gate.lift()
    keeper.loop.until(lambda: len(told) == 5)
    assert told == [1, 2, 4, 5, 6]
    assert len(keeper.loop.errors) == 1


def test_a_full_queue_refuses_at_once_and_recovers(opened: Opened) -> None:
    """What is refused is never written and never called back; runs that begin leave room for those in motion."""
    gate = Gate()
    keeper = opened(clock=gate, queue_bytes=100_000)
    keeper.begin(row("r"))
    _hold(keeper, gate)
    keeper.journal.note(event("r", 1, b"x" * 60_000), keeper.hear)
    with pytest.raises(JournalFull) as full:
        keeper.journal.begin(row("r2"), event("r2", 0), keeper.hear)
    assert full.value.code == "penstock.journal_full" and full.value.hint
    keeper.journal.note(event("r", 2, b"x" * 30_000), keeper.hear)
    with pytest.raises(JournalFull):
        keeper.journal.note(event("r", 3, b"x" * 30_000), keeper.hear)
    gate.lift()
    assert keeper.settle(3) == [None, None, None]
    assert keeper.begin(row("r2")) is None
    assert keeper.note(event("r", 3)) is None
    assert len(keeper.journal.events("r")) == 4


def test_one_body_larger_than_the_queue_is_taken_when_nothing_waits(opened: Opened) -> None:
    """Else it would be refused for ever."""
    keeper = opened(queue_bytes=1000)
    assert keeper.begin(row("r", body=b"x" * 10_000)) is None


def test_a_body_beyond_the_bound_is_refused(keeper: Keeper) -> None:
    """At once; the run it belongs to goes on."""
    keeper.begin(row("r"))
    with pytest.raises(BodyTooLarge):
        keeper.journal.note(event("r", 1, bytes(MAX_BODY_BYTES + 1)), keeper.hear)
    assert keeper.note(event("r", 1)) is None


REFUSED: dict[str, Callable[[Keeper], None]] = {
    "an event of no run": lambda keeper: keeper.journal.note(event("none", 1), keeper.hear),
    "an event twice": lambda keeper: keeper.journal.note(event("r", 0), keeper.hear),
    "a gap": lambda keeper: keeper.journal.note(event("r", 2), keeper.hear),
    "a mark of no run": lambda keeper: keeper.journal.mark("none", COMPLETED, keeper.hear),
    "a run twice": lambda keeper: keeper.journal.begin(row("r"), event("r", 0), keeper.hear),
    "a run of no plan": lambda keeper: keeper.journal.begin(row("n", plan="none"), event("n", 0), keeper.hear),
    "a run with another's event": lambda keeper: keeper.journal.begin(row("n"), event("r", 1), keeper.hear),
    "a run that begins below zero": lambda keeper: keeper.journal.begin(row("n"), event("n", -1), keeper.hear),
    "a text that is none": lambda keeper: keeper.journal.begin(row("n", hook="\ud800"), event("n", 0), keeper.hear),
    "an id that is none": lambda keeper: keeper.journal.mark("\ud800", COMPLETED, keeper.hear),
    "a plan that is none": lambda keeper: keeper.journal.put_plan("\ud800", b"", keeper.hear),
    "a reason that is none": lambda keeper: keeper.journal.mark("r", RunUpdate(reason="\ud800"), keeper.hear),
    "a kind that is none": lambda keeper: keeper.journal.note(
        replace(event("r", 1), kind="\ud800"), keeper.hear, update=COMPLETED
    ),
    "a time that is none": lambda keeper: keeper.journal.note(replace(event("r", 1), at=float("nan")), keeper.hear),
    "an end that is none": lambda keeper: keeper.journal.mark("r", RunUpdate(ended_at=float("inf")), keeper.hear),
    "an update that does not fit": lambda keeper: keeper.journal.note(
        event("r", 1), keeper.hear, update=RunUpdate(ended_at=float("nan"))
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_the_journal_is_refused_alone(opened: Opened, case: str) -> None:
    """Nothing of it is written, and those in the same group are."""
    gate = Gate()
    keeper = opened(clock=gate)
    keeper.begin(row("r"))
    before = keeper.journal.run("r")
    _hold(keeper, gate)
    keeper.journal.begin(row("s"), event("s", 0), keeper.hear)
    REFUSED[case](keeper)
    keeper.journal.note(event("s", 1), keeper.hear)
    gate.lift()
    _, first, refused, last = keeper.settle(4)
    assert (first, last) == (None, None)
    assert isinstance(refused, EntryRefused) and refused.code == "penstock.journal_refused"
    assert [run.id for run in keeper.journal.runs() if isinstance(run, RunRow)] == ["s", "r"]
    assert keeper.journal.run("r") == before and len(keeper.journal.events("r")) == 1
    assert keeper.note(event("r", 1)) is None


def test_runs_are_listed_newest_first(keeper: Keeper) -> None:
    """All or those of one status, as many as asked for."""
    for number in range(5):
        keeper.begin(row(f"r{number}"))
    for number in (1, 3):
        keeper.mark(f"r{number}", COMPLETED)
    keeper.mark("r4", RunUpdate(status=RunStatus.PARKED, reason="its plugin is gone"))
    keeper.mark("r2", RunUpdate(status=RunStatus.CONFIRMING))
    listed = _ids(keeper.journal.runs())
    assert listed == ["r4", "r3", "r2", "r1", "r0"]
    assert _ids(keeper.journal.runs(limit=2)) == listed[:2]
    assert _ids(keeper.journal.runs(status=RunStatus.COMPLETED)) == ["r3", "r1"]
    assert _ids(keeper.journal.unfinished()) == ["r0", "r2"]


def _ids(runs: object) -> list[str]:
    assert isinstance(runs, list)
    return [run.id for run in runs]


def test_a_plan_once_put_stays(keeper: Keeper) -> None:
    """Its digest is its name: a second one of that name is the same."""
    keeper.journal.put_plan(PLAN, b"another", keeper.hear)
    assert keeper.settle() == [None]
    assert keeper.journal.plan(PLAN) == b"the plan"


def test_facts_tell_what_is_there(keeper: Keeper) -> None:
    """Counts, versions and measures."""
    assert keeper.journal.facts().oldest is None
    keeper.fill("r", 3)
    keeper.begin(row("s", started_at=9.0))
    keeper.mark("s", COMPLETED)
    facts = keeper.journal.facts()
    assert facts.runs == {RunStatus.RUNNING: 1, RunStatus.COMPLETED: 1}
    assert (facts.oldest, facts.schema, facts.machine, facts.synced_events) == (1.5, 1, 1, 4)
    assert facts.size_bytes > 4096 and len(facts.key_ids) == 1 and facts.synced_events_per_second > 0
    assert facts.commit_seconds_p50 is not None and facts.commit_seconds_p99 is not None
    assert 0 < facts.commit_seconds_p50 <= facts.commit_seconds_p99


def test_closing_writes_what_is_queued(opened: Opened) -> None:
    """And tells so; afterwards nothing is taken, and a second time does nothing."""
    keeper = opened()
    keeper.begin(row("r"))
    for seq in range(1, 50):
        keeper.journal.note(event("r", seq), keeper.hear)
    keeper.close()
    keeper.close()
    assert keeper.settle(49) == [None] * 49
    with pytest.raises(JournalClosed):
        keeper.journal.note(event("r", 50), keeper.hear)
    with pytest.raises(JournalClosed):
        keeper.journal.run("r")
    assert len(opened(keeper.folder).journal.events("r")) == 50


def test_a_clean_close_leaves_one_database_file(keeper: Keeper) -> None:
    """No log that only this SQLite understands."""
    keeper.fill("r", 3)
    keeper.close()
    assert {path.name for path in keeper.folder.iterdir()} == {"journal.db", "journal.key", "journal.lock"}


def test_a_bug_in_the_writer_leaves_nobody_waiting(opened: Opened) -> None:
    """Whoever waits is told that the journal failed, and whoever comes later as well."""
    gate = Gate()
    keeper = opened(clock=gate)
    keeper.begin(row("r"))
    _hold(keeper, gate)
    noticed: list[object] = []
    threading.excepthook, before = noticed.append, threading.excepthook
    try:
        keeper.journal.note(replace(event("r", 1), at="now"), keeper.hear)  # type: ignore[arg-type] # the bug
        keeper.journal.note(event("r", 2), keeper.hear)
        gate.lift()
        outcomes = keeper.settle(3)
        assert outcomes[0] is None and all(isinstance(one, JournalFailed) for one in outcomes[1:])
        with pytest.raises(JournalFailed):
            keeper.journal.note(event("r", 1), keeper.hear)
        keeper.close()
    finally:
        threading.excepthook = before
    assert len(noticed) == 1
    assert len(opened(keeper.folder).journal.events("r")) == 1
