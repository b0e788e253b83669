"""Disks that fill up or fail: nothing is reported durable that is not, and whoever waits is told exactly once."""

from __future__ import annotations

import multiprocessing
import resource
import sqlite3
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from keeper import COMPLETED, PATIENCE_SECONDS, Gate, Keeper, event, row

from orchestrator.journal.errors import JournalCorrupt, JournalDiskFull, JournalError, JournalFailed
from orchestrator.journal.schema import named

Opened = Callable[..., Keeper]


def _fill_until_it_fails(keeper: Keeper) -> tuple[int, JournalError]:
    """Note events until one fails; return how many were acknowledged."""
    keeper.begin(row("r"))
    for seq in range(1, 2000):
        outcome = keeper.note(event("r", seq, bytes(2000)))
        if outcome is not None:
            return seq, outcome
    raise AssertionError("it never failed")


def _assert_dead(keeper: Keeper, outcome: JournalError) -> None:
    assert isinstance(outcome, JournalFailed) and outcome.code == "penstock.journal_failed" and outcome.hint
    for _ in range(2):
        with pytest.raises(JournalFailed):
            keeper.journal.begin(row("s"), event("s", 0), keeper.hear)
    assert keeper.heard == []


def test_a_full_disk_fails_the_journal_until_it_is_opened_again(opened: Opened) -> None:
    """Everything acknowledged is there then, and with room it goes on."""
    keeper = opened(max_bytes=400_000)
    acknowledged, outcome = _fill_until_it_fails(keeper)
    _assert_dead(keeper, outcome)
    assert isinstance(outcome.__cause__, JournalDiskFull) and "free some space" in outcome.hint
    assert len(keeper.journal.events("r")) == acknowledged
    keeper.close()
    again = opened(keeper.folder)
    assert len(again.journal.events("r")) == acknowledged
    assert again.note(event("r", acknowledged)) is None


def test_pruning_makes_room_in_a_journal_that_is_full(opened: Opened) -> None:
    """That is what its hint says."""
    keeper = opened(max_bytes=400_000)
    acknowledged, _ = _fill_until_it_fails(keeper)
    keeper.close()
    again = opened(keeper.folder, max_bytes=400_000)
    assert again.mark("r", COMPLETED) is None
    assert again.prune(before=None, keep=0) == 1
    again.fill("s", acknowledged // 2)


def test_all_who_wait_when_a_commit_fails_are_told_once(opened: Opened) -> None:
    """Those of the group that failed and those that had gathered behind it, in order."""
    gate = Gate()
    keeper = opened(max_bytes=400_000, clock=gate)
    keeper.begin(row("r"))
    told: list[tuple[int, JournalError | None]] = []

    def tell(seq: int) -> Callable[[JournalError | None], None]:
        return lambda error: told.append((seq, error))

    gate.shut()
    keeper.journal.note(event("r", 1, bytes(1_000_000)), tell(1))
    assert gate.reached.wait(PATIENCE_SECONDS)
    for seq in range(2, 50):
        keeper.journal.note(event("r", seq), tell(seq))
    ends: list[int | JournalError] = []
    keeper.journal.rekey(ends.append)
    gate.lift()
    keeper.loop.until(lambda: len(told) == 49 and ends)
    assert [seq for seq, _ in told] == [*range(1, 50)]
    errors = [error for _, error in told] + ends
    assert all(isinstance(error, JournalFailed) for error in errors)
    assert len({id(error) for error in errors}) == 50
    keeper.close()
    assert len(told) == 49 and len(ends) == 1
    assert len(opened(keeper.folder).journal.events("r")) == 1


def _live_with_small_files(folder: Path, pipe: Connection) -> None:
    """A disk on which writing fails, for real: the kernel refuses to let any file grow beyond the limit."""
    keeper = Keeper(folder)
    keeper.begin(row("r"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    acknowledged, outcome = 0, None
    while outcome is None:
        acknowledged += 1
        outcome = keeper.note(event("r", acknowledged, bytes(2000)))
    _assert_dead(keeper, outcome)
    pipe.send((acknowledged, len(keeper.journal.events("r")), str(outcome)))
    keeper.close()


def test_a_write_that_fails_fails_the_journal(tmp_path: Path, opened: Opened) -> None:
    """The commit in which it happened is not reported; all before it are there."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    living = context.Process(target=_live_with_small_files, args=(tmp_path / "journal", there))
    living.start()
    there.close()
    assert here.poll(PATIENCE_SECONDS)
    acknowledged, readable, message = here.recv()
    living.join(PATIENCE_SECONDS)
    assert living.exitcode == 0
    assert readable == acknowledged and "the journal takes nothing more" in message
    assert len(opened(tmp_path / "journal").journal.events("r")) == acknowledged


def test_a_database_that_is_damaged_while_it_is_open_fails_the_journal(opened: Opened) -> None:
    """The next commit that meets the damage is not reported."""
    keeper = opened()
    keeper.fill("r", 3)
    keeper.close()
    again = opened(keeper.folder)
    path = keeper.folder / "journal.db"
    path.write_bytes(path.read_bytes()[:4096] + b"\x5a" * (path.stat().st_size - 4096))
    outcome = again.begin(row("s"))
    assert isinstance(outcome, JournalError)
    if isinstance(outcome, JournalFailed):
        _assert_dead(again, outcome)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_FULL, JournalDiskFull),
        (sqlite3.SQLITE_CORRUPT, JournalCorrupt),
        (sqlite3.SQLITE_IOERR, JournalError),
    ],
)
def test_what_sqlite_complains_of_has_a_name(code: int, expected: type[JournalError]) -> None:
    """Extended codes too."""
    error = sqlite3.OperationalError("words")
    error.sqlite_errorcode = code | 3 << 8
    assert type(named(error)) is expected and "words" in str(named(error))
