"""The log of a process that died: everything synced is there, and what is damaged is refused, not dropped."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from keeper import HandLoop, Keeper, copied, event, row

from orchestrator.journal import wal
from orchestrator.journal.errors import JournalCorrupt
from orchestrator.journal.opening import open_journal

FRAME_BYTES = 24 + 4096
HEADER_BYTES = 32

Opened = Callable[..., Keeper]


@pytest.fixture
def dead(opened: Opened, tmp_path: Path) -> tuple[Path, list[int]]:
    """What a killed process left, and how long the log was whenever an event had been acknowledged."""
    keeper = opened()
    lengths = []
    keeper.begin(row("r"))
    log = keeper.folder / "journal.db-wal"
    lengths.append(log.stat().st_size)
    for seq in range(1, 8):
        keeper.note(event("r", seq))
        lengths.append(log.stat().st_size)
    return copied(keeper.folder, tmp_path / "dead"), lengths


def _events(folder: Path, to: Path) -> int:
    keeper = Keeper(copied(folder, to))
    events = keeper.journal.events("r")
    keeper.close()
    assert [each.seq for each in events] == [*range(len(events))]
    return len(events)


def test_a_log_cut_short_loses_only_what_was_not_synced(dead: tuple[Path, list[int]], tmp_path: Path) -> None:
    """Cut anywhere beyond the length at which an event was acknowledged, the event is there."""
    folder, lengths = dead
    whole = (folder / "journal.db-wal").read_bytes()
    draw = random.Random(7)
    cuts = {*lengths, *(draw.randrange(lengths[0], len(whole)) for _ in range(20))}
    for number, cut in enumerate(sorted(cuts)):
        (folder / "journal.db-wal").write_bytes(whole[:cut])
        acknowledged = sum(length <= cut for length in lengths)
        assert _events(folder, tmp_path / f"cut{number}") == acknowledged


def test_garbage_behind_what_was_synced_is_dropped(dead: tuple[Path, list[int]], tmp_path: Path) -> None:
    """A transaction whose frames came to the disk in any order, or not at all."""
    folder, lengths = dead
    whole = (folder / "journal.db-wal").read_bytes()
    synced, unsynced = whole[: lengths[-2]], bytearray(whole[lengths[-2] :])
    tails = {
        "garbage": os.urandom(len(unsynced)),
        "zeros": bytes(len(unsynced)),
        "its first frame missing": bytes(FRAME_BYTES) + bytes(unsynced[FRAME_BYTES:]),
        "a bit": bytes([unsynced[0] ^ 1]) + bytes(unsynced[1:]),
    }
    for number, tail in enumerate(tails.values()):
        (folder / "journal.db-wal").write_bytes(synced + tail)
        assert _events(folder, tmp_path / f"tail{number}") == len(lengths) - 1


def test_damage_within_what_was_synced_is_refused(dead: tuple[Path, list[int]], tmp_path: Path) -> None:
    """SQLite would drop acknowledged events without a word."""
    folder, lengths = dead
    log = folder / "journal.db-wal"
    whole = log.read_bytes()
    draw = random.Random(7)
    for place in [0, 8, 16, 24, *(draw.randrange(HEADER_BYTES, lengths[-2]) for _ in range(30))]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draw.randrange(8)
        log.write_bytes(flipped)
        for _ in range(2):
            with pytest.raises(JournalCorrupt, match=r"its header|frame [0-9]+ is damaged"):
                open_journal(folder, loop=HandLoop(), machine=1)
        assert log.read_bytes() == flipped
    log.write_bytes(whole)
    assert _events(folder, tmp_path / "whole") == len(lengths)


def test_leavings_of_an_older_log_are_no_damage(opened: Opened, tmp_path: Path) -> None:
    """After the log was folded in it is overwritten from its start; behind that lie frames of before."""
    keeper = opened()
    keeper.begin(row("r"))
    log = keeper.folder / "journal.db-wal"
    seq = 0
    longest = 0
    while log.stat().st_size > longest or seq < 10:
        longest = log.stat().st_size
        seq += 1
        keeper.note(event("r", seq, os.urandom(2**20)))
    keeper.note(event("r", seq + 1))
    dead = copied(keeper.folder, tmp_path / "dead")
    assert wal.damage(dead / "journal.db-wal") is None
    again = Keeper(dead)
    assert len(again.journal.events("r")) == seq + 2
    again.close()


def test_no_log_is_no_damage(tmp_path: Path) -> None:
    """Nor is one that is empty or only begun."""
    log = tmp_path / "log"
    assert wal.damage(log) is None
    for size in (0, 31):
        log.write_bytes(bytes(size))
        assert wal.damage(log) is None
