"""Pruning and new keys: bounded steps, nothing lost between two of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from keeper import COMPLETED, PLAN, Keeper, copied, event, row

from orchestrator.journal import chores
from orchestrator.journal.cipher import Cipher
from orchestrator.journal.errors import JournalClosed, JournalError, Unreadable
from orchestrator.journal.keyfile import read_keys
from orchestrator.journal.rows import RunRow, RunStatus, RunUpdate
from orchestrator.journal.schema import connect_reading, connect_writing
from orchestrator.journal.store import Store

Opened = Callable[..., Keeper]


def _ids(keeper: Keeper) -> list[str]:
    runs = keeper.journal.runs(limit=10_000)
    assert all(isinstance(run, RunRow) for run in runs)
    return [run.id for run in runs if isinstance(run, RunRow)]


def _finished(keeper: Keeper, *ends: float) -> None:
    for number, end in enumerate(ends):
        keeper.fill(f"r{number}", 3)
        keeper.mark(f"r{number}", RunUpdate(status=RunStatus.COMPLETED, ended_at=end))


def test_only_finished_runs_are_pruned(keeper: Keeper) -> None:
    """Completed and undone; whoever still has to be taken up, confirmed or looked at by a human stays."""
    for status in RunStatus:
        keeper.fill(status.value, 2)
        keeper.mark(status.value, RunUpdate(status=status, ended_at=3.0))
    assert keeper.prune(before=4.0, keep=None) == 2
    assert _ids(keeper) == ["parked", "confirming", "running"]
    assert keeper.journal.events("completed") == [] and len(keeper.journal.events("parked")) == 2


def test_both_bounds_hold_back(keeper: Keeper) -> None:
    """A run goes when it is older than the one and beyond the other."""
    _finished(keeper, 1.0, 2.0, 3.0, 4.0)
    assert keeper.prune(before=3.0, keep=3) == 1
    assert keeper.prune(before=3.0, keep=None) == 1
    assert _ids(keeper) == ["r3", "r2"]
    assert keeper.prune(before=None, keep=1) == 1
    assert keeper.prune(before=None, keep=None) == 0
    assert keeper.prune(before=None, keep=5) == 0
    assert _ids(keeper) == ["r3"]
    assert keeper.prune(before=None, keep=0) == 1


def test_a_run_without_an_end_counts_from_its_begin(keeper: Keeper) -> None:
    """Else it would stay for ever."""
    keeper.fill("r", 2)
    keeper.mark("r", RunUpdate(status=RunStatus.UNDONE))
    assert keeper.prune(before=1.5, keep=None) == 0
    assert keeper.prune(before=1.6, keep=None) == 1


def test_more_runs_than_one_step_takes_are_pruned(keeper: Keeper) -> None:
    """And the file becomes smaller."""
    for number in range(2 * chores.RUNS_A_STEP + 1):
        keeper.journal.begin(row(f"r{number}", body=bytes(5000)), event(f"r{number}", 0), keeper.hear)
        keeper.journal.mark(f"r{number}", COMPLETED, keeper.hear)
    keeper.settle(2 * (2 * chores.RUNS_A_STEP + 1))
    keeper.close()
    before = (keeper.folder / "journal.db").stat().st_size
    again = Keeper(keeper.folder)
    assert again.prune(before=None, keep=3) == 2 * chores.RUNS_A_STEP - 2
    assert len(_ids(again)) == 3
    again.close()
    assert (keeper.folder / "journal.db").stat().st_size < before / 10


def test_plans_go_with_the_last_run_that_names_them(opened: Opened) -> None:
    """But not those that were put since the journal was opened: a run may be about to name them."""
    keeper = opened()
    keeper.journal.put_plan("old", b"old", keeper.hear)
    keeper.settle()
    keeper.begin(row("r", plan="old"))
    keeper.mark("r", COMPLETED)
    keeper.close()
    again = opened(keeper.folder)
    assert again.prune(before=None, keep=1) == 0
    assert again.journal.plan("old") == b"old"
    assert again.prune(before=None, keep=0) == 1
    assert again.journal.plan("old") is None and again.journal.plan(PLAN) == b"the plan"
    again.journal.begin(row("s", plan="old"), event("s", 0), again.hear)
    assert isinstance(again.settle()[0], JournalError)
    assert again.begin(row("s")) is None


def test_a_pruned_run_gives_its_key_back(keeper: Keeper) -> None:
    """The next call with this key is a new one."""
    keeper.begin(row("r", key="k"))
    keeper.mark("r", COMPLETED)
    keeper.prune(before=None, keep=0)
    assert keeper.journal.by_key("orders", "k") is None
    assert keeper.begin(row("s", key="k")) is None


def test_a_new_key_replaces_the_old_one(opened: Opened) -> None:
    """Everything is read as before; the old key opens nothing more."""
    keeper = opened()
    keeper.fill("r", 2 * chores.ROWS_A_STEP)
    before = _everything(keeper)
    old = keeper.journal.facts().key_ids
    kept = (keeper.folder / "journal.key").read_bytes()
    assert keeper.rekey() == 2 * chores.ROWS_A_STEP + 3
    new = keeper.journal.facts().key_ids
    assert len(new) == 1 and new != old
    assert _everything(keeper) == before
    assert keeper.note(event("r", 2 * chores.ROWS_A_STEP)) is None
    keeper.close()
    current = (keeper.folder / "journal.key").read_bytes()
    (keeper.folder / "journal.key").write_bytes(kept)
    with pytest.raises(JournalError, match="is not the key file"):
        Keeper(keeper.folder)
    (keeper.folder / "journal.key").write_bytes(current)
    assert len(opened(keeper.folder).journal.events("r")) == 2 * chores.ROWS_A_STEP + 1


def _everything(keeper: Keeper) -> object:
    return keeper.journal.runs(), keeper.journal.events("r"), keeper.journal.plan(PLAN)


def test_appends_go_between_the_steps_of_a_new_key(keeper: Keeper) -> None:
    """Others do not wait until it is through."""
    keeper.fill("r", 4 * chores.ROWS_A_STEP)
    order: list[object] = []
    keeper.journal.rekey(order.append)
    keeper.begin(row("s"))
    for seq in range(1, 20):
        keeper.journal.note(event("s", seq), order.append)
    keeper.loop.until(lambda: len(order) == 20)
    assert order.count(None) == 19
    assert len(keeper.journal.events("s")) == 20 and len(keeper.journal.events("r")) == 4 * chores.ROWS_A_STEP


def test_a_kill_between_any_two_steps_of_a_new_key_loses_nothing(opened: Opened, tmp_path: Path) -> None:
    """Whatever stands in the key file then opens all there is; asking again finishes it."""
    keeper = opened()
    keeper.fill("r", chores.ROWS_A_STEP + 10)
    before = _everything(keeper)
    keeper.close()
    folder = keeper.folder
    cipher = Cipher(read_keys(folder / "journal.key"), os.urandom)
    connection = connect_writing(folder / "journal.db", max_bytes=None)
    readers = Store(connect_reading(folder / "journal.db"), cipher)
    moments = 0
    for _ in chores.rekey(connection, cipher, folder / "journal.key", readers, os.urandom):
        dead = opened(copied(folder, tmp_path / f"dead{moments}"))
        assert _everything(dead) == before
        assert len(dead.journal.facts().key_ids) == 2
        dead.rekey()
        assert len(dead.journal.facts().key_ids) == 1
        assert _everything(dead) == before
        moments += 1
    readers.close()
    connection.close()
    assert moments >= 5
    assert _everything(opened(folder)) == before


def test_a_key_file_that_cannot_be_written_leaves_the_journal_as_it_is(keeper: Keeper) -> None:
    """The old key goes on to serve, and the journal with it."""
    keeper.fill("r", 3)
    before = keeper.journal.facts().key_ids
    (keeper.folder / "journal.key.new").mkdir()
    with pytest.raises(JournalError):
        keeper.rekey()
    assert keeper.journal.facts().key_ids == before
    assert keeper.note(event("r", 3)) is None
    assert len(keeper.journal.events("r")) == 4


def test_what_is_damaged_is_passed_over(opened: Opened) -> None:
    """A new key for the rest must not depend on it."""
    keeper = opened()
    keeper.fill("r", 3)
    keeper.fill("s", 3)
    keeper.close()
    connection = connect_writing(keeper.folder / "journal.db", max_bytes=None)
    connection.execute("UPDATE event SET body = zeroblob(50) WHERE number = 2")
    connection.close()
    again = opened(keeper.folder)
    again.rekey()
    assert len(again.journal.events("s")) == 3
    with pytest.raises(Unreadable):
        again.journal.events("r")


def test_closing_in_the_midst_says_so(opened: Opened) -> None:
    """What waits for the end of a chore hears that there will be none."""
    keeper = opened()
    keeper.fill("r", 3)
    ends: list[int | JournalError] = []
    for _ in range(50):
        keeper.journal.rekey(ends.append)
    keeper.close()
    keeper.loop.until(lambda: len(ends) == 50)
    assert isinstance(ends[-1], JournalClosed)
    assert len(opened(keeper.folder).journal.events("r")) == 3
