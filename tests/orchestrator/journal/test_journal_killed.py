"""A host that is killed: whatever was acknowledged is there."""

from __future__ import annotations

import multiprocessing
import random
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from appender import append_until_killed
from keeper import PATIENCE_SECONDS, HandLoop

from orchestrator.journal.journal import Journal
from orchestrator.journal.opening import open_journal
from orchestrator.journal.rows import RunRow

KILLS_EACH = 25
MOST_EVENTS = 300


def _killed(folder: Path, name: str, chores: bool, after: int) -> dict[str, int]:
    """Kill an appending process after so many acknowledgements; return the last one of each run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["appender"])
    here, there = multiprocessing.Pipe(duplex=False)
    child = context.Process(target=append_until_killed, args=(folder, name, chores, there))
    child.start()
    there.close()
    acknowledged: dict[str, int] = {}
    try:
        for _ in range(after):
            _hear(here, acknowledged)
    finally:
        child.kill()
        child.join(PATIENCE_SECONDS)
    # What it had said before it died counts too.
    try:
        while True:
            _hear(here, acknowledged)
    except (EOFError, ConnectionResetError):
        here.close()
    return acknowledged


def _hear(pipe: Connection, acknowledged: dict[str, int]) -> None:
    assert pipe.poll(PATIENCE_SECONDS)
    run, seq = pipe.recv()
    acknowledged[run] = seq


@pytest.mark.parametrize("chores", [False, True], ids=["appending", "with new keys"])
def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path, chores: bool) -> None:
    """Killed again and again, every acknowledged event is there, in order, without a gap, and readable."""
    draw = random.Random(11)
    everything: dict[str, int] = {}
    for kill in range(KILLS_EACH):
        acknowledged = _killed(tmp_path / "journal", f"k{kill}", chores, draw.randrange(1, MOST_EVENTS))
        with closing(open_journal(tmp_path / "journal", loop=HandLoop(), machine=1)) as journal:
            _assert_there(journal, acknowledged)
        everything |= acknowledged
    with closing(open_journal(tmp_path / "journal", loop=HandLoop(), machine=1)) as journal:
        _assert_there(journal, everything)
        assert all(isinstance(run, RunRow) for run in journal.runs(limit=10**6))
    assert len(everything) >= KILLS_EACH


def _assert_there(journal: Journal, acknowledged: dict[str, int]) -> None:
    for run, seq in acknowledged.items():
        events = [(each.seq, each.body) for each in journal.events(run)]
        assert len(events) > seq
        assert events == [(at, f"{run}/{at}".encode()) for at in range(len(events))]
