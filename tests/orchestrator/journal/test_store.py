"""What is damaged costs its own run and no other."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest
from keeper import PLAN, Keeper, event, row

from orchestrator.journal.errors import EntryRefused, JournalCorrupt, JournalError, Unreadable
from orchestrator.journal.rows import RunRow, RunUpdate

Opened = Callable[..., Keeper]

DAMAGE = {
    "a bit of an event": "UPDATE event SET body = CAST(substr(body, 1, 30) || x'00' || substr(body, 32) AS BLOB) "
    "WHERE run = 2 AND seq = 1",
    "an event cut short": "UPDATE event SET body = substr(body, 1, 20) WHERE run = 2 AND seq = 1",
    "an event emptied": "UPDATE event SET body = x'' WHERE run = 2 AND seq = 1",
    "two events swapped": "UPDATE event SET body = (SELECT body FROM event AS other WHERE other.run = 2 "
    "AND other.seq = 3 - event.seq) WHERE run = 2 AND seq IN (1, 2)",
    "another run's event": "UPDATE event SET body = (SELECT body FROM event AS other WHERE other.run = 1 "
    "AND other.seq = 1) WHERE run = 2 AND seq = 1",
    "an event of another kind": "UPDATE event SET kind = 'denied' WHERE run = 2 AND seq = 1",
    "an event of other commands": "UPDATE event SET commands = x'00' WHERE run = 2 AND seq = 1",
    "an event at another time": "UPDATE event SET at = at + 1 WHERE run = 2 AND seq = 1",
    "an event of a key that is gone": "UPDATE event SET body = CAST(x'00000000' || substr(body, 5) AS BLOB) "
    "WHERE run = 2 AND seq = 1",
    "an event missing": "DELETE FROM event WHERE run = 2 AND seq = 1",
    "a text that is none": "UPDATE event SET kind = CAST(x'ff' AS TEXT) WHERE run = 2 AND seq = 1",
}
DAMAGED_ROWS = {
    "its body": "UPDATE run_body SET body = zeroblob(60) WHERE number = 2",
    "no body": "DELETE FROM run_body WHERE number = 2",
    "another's body": "UPDATE run_body SET body = (SELECT body FROM run_body WHERE number = 1) WHERE number = 2",
    "another status": "UPDATE run SET status = 'dreaming' WHERE number = 2",
    "another pipeline": "UPDATE run SET pipeline = 'mine' WHERE number = 2",
    "another hook": "UPDATE run SET hook = 'mine' WHERE number = 2",
    "another key": "UPDATE run SET key_digest = 'mine' WHERE number = 2",
    "another machine": "UPDATE run SET machine = 9 WHERE number = 2",
    "another begin": "UPDATE run SET started_at = 9 WHERE number = 2",
    "a text that is none": "UPDATE run SET reason = CAST(x'ff' AS TEXT) WHERE number = 2",
}


def _damaged(opened: Opened, *statements: str) -> Keeper:
    """Three runs; what is done to the second is done while nobody looks."""
    keeper = opened()
    for name in ("r1", "r2", "r3"):
        keeper.fill(name, 4)
    keeper.close()
    connection = sqlite3.connect(keeper.folder / "journal.db", isolation_level=None)
    for statement in statements:
        assert connection.execute(statement).rowcount > 0
    connection.close()
    return opened(keeper.folder)


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_event_makes_its_run_unreadable(opened: Opened, case: str) -> None:
    """The others are read as before, and its row as well."""
    keeper = _damaged(opened, DAMAGE[case])
    with pytest.raises(Unreadable) as unreadable:
        keeper.journal.events("r2")
    assert unreadable.value.run == "r2" and unreadable.value.reason and unreadable.value.hint
    assert [len(keeper.journal.events(run)) for run in ("r1", "r3")] == [4, 4]
    assert all(isinstance(run, RunRow) for run in keeper.journal.unfinished())


@pytest.mark.parametrize("case", DAMAGED_ROWS)
def test_a_damaged_row_stands_in_lists_as_its_error(opened: Opened, case: str) -> None:
    """In its place; alone it is raised."""
    keeper = _damaged(opened, DAMAGED_ROWS[case])
    with pytest.raises(Unreadable):
        keeper.journal.run("r2")
    one, two, three = keeper.journal.runs()
    assert isinstance(one, RunRow) and isinstance(two, Unreadable) and isinstance(three, RunRow)
    assert two.run == "r2"
    assert "r2" not in [run.id for run in keeper.journal.unfinished() if isinstance(run, RunRow)]
    assert keeper.note(event("r1", 4)) is None


def test_a_run_whose_status_is_damaged_is_among_the_unfinished(opened: Opened) -> None:
    """Nobody can tell that it is finished, so somebody has to look."""
    keeper = _damaged(opened, DAMAGED_ROWS["another status"])
    assert [run.run for run in keeper.journal.unfinished() if isinstance(run, Unreadable)] == ["r2"]
    outcome = keeper.note(event("r2", 4))
    assert isinstance(outcome, JournalError) and not isinstance(outcome, EntryRefused)
    assert keeper.mark("r1", RunUpdate(reason="fine")) is None


def test_a_key_whose_run_is_damaged_stays_taken(opened: Opened) -> None:
    """The same call must not run a second time because of it."""
    keeper = opened()
    keeper.begin(row("r0", key="k"))
    keeper.close()
    connection = sqlite3.connect(keeper.folder / "journal.db", isolation_level=None)
    connection.execute("UPDATE run_body SET body = zeroblob(60)")
    connection.close()
    again = opened(keeper.folder)
    assert isinstance(again.begin(row("r1", key="k")), Unreadable)
    assert again.journal.run("r1") is None


def test_a_damaged_plan_is_an_error_of_its_own(opened: Opened) -> None:
    """Its runs are read."""
    keeper = _damaged(opened, f"UPDATE plan SET body = zeroblob(60) WHERE digest = '{PLAN}'")
    with pytest.raises(JournalCorrupt):
        keeper.journal.plan(PLAN)
    assert len(keeper.journal.events("r2")) == 4
