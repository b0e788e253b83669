"""A journal that cannot be had, as whoever types a command sees it: refused with the reason, and nothing is lost."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from lives import Told, World, hosts
from proof import Ledger, check, runs_of

PENSTOCK = Path(sysconfig.get_path("scripts")) / "penstock"
WAIT_SECONDS = 120.0
"""Bounds every wait; the machine may be busy with other tests."""

CALL = '{"hook": "chained", "payload": {"name": "order", "args": {}}}\n'

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE = 1


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world with a journal in which a killed host left something in the log."""
    world = World(tmp_path)
    with hosts(world, Told()) as host:
        host.begin("7")
        host.ready()
        host.listen_to(3, WAIT_SECONDS)
        host.kill()
    return world


def penstock(
    world: World, *arguments: str, text: str = CALL, before: Callable[[], object] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PENSTOCK), *arguments, "--state", "state"],
        capture_output=True,
        text=True,
        input=text,
        timeout=WAIT_SECONDS,
        check=False,
        cwd=world.folder,
        env={**os.environ, "PENSTOCK_STORE": str(world.store)},
        preexec_fn=before,
    )


def run(world: World, before: Callable[[], object] | None = None) -> subprocess.CompletedProcess[str]:
    return penstock(world, "run", "pipeline.yaml", "--input", "-", "--json", before=before)


def contents(world: World) -> dict[str, bytes]:
    paths = [world.state / name for name in ("journal.db", "journal.db-wal", "journal.key")]
    found = {path.name: path.read_bytes() for path in paths if path.exists()}
    return {name: data for name, data in found.items() if data}  # SQLite makes an empty log as it looks


def restore(world: World, files: dict[str, bytes]) -> None:
    for name in ("journal.db", "journal.db-wal", "journal.db-shm", "journal.key"):
        (world.state / name).unlink(missing_ok=True)
    for name, data in files.items():
        (world.state / name).write_bytes(data)
        (world.state / name).chmod(0o600)


def refused(world: World, code: str, *words: str, before: Callable[[], object] | None = None) -> None:
    """Neither `run` nor `runs` does anything but say why."""
    found = contents(world)
    for ended in (run(world, before), penstock(world, "runs", "list", "pipeline.yaml", "--json", before=before)):
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert list(json.loads(ended.stdout)) == ["error"]
        assert code in ended.stderr and all(word in ended.stderr for word in words), ended.stderr
        assert "Traceback" not in ended.stderr
    assert contents(world) == found


def all_is_well(world: World) -> None:
    """A call is answered, what the killed host left is recovered, and journal and ledger agree."""
    ended = run(world)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["verdict"] == "allow"
    with hosts(world, told := Told()) as host:
        host.begin("calm")
        assert host.ended() == 0
    check(runs_of(world.state), Ledger.read(world.ledger), told)


def test_a_second_host_is_refused_with_the_pid_of_the_first(world: World) -> None:
    with hosts(world, told := Told()) as host:
        host.begin("[]")
        host.ready()
        (line,) = told.having("began")
        ended = run(world)
        assert ended.returncode == 1
        assert f"process {line['began']} has the journal" in ended.stderr, ended.stderr
        # A command is not a second host: the first follows it.
        listed = penstock(world, "runs", "list", "pipeline.yaml")
        assert listed.returncode == 0, listed.stderr
        host.kill()
    all_is_well(world)


def test_without_its_key_nobody_gets_another_journal_for_it(world: World) -> None:
    whole = contents(world)
    (world.state / "journal.key").unlink()
    refused(world, "journal.key is missing")
    restore(world, whole)
    all_is_well(world)


def test_a_folder_that_cannot_be_written_is_refused(world: World) -> None:
    files = [path for path in world.state.iterdir() if path.is_file()]
    for path in files:
        path.chmod(0o400)
    world.state.chmod(0o500)
    refused(world, "writable", before=obey_modes)
    world.state.chmod(0o700)
    for path in files:
        path.chmod(0o600)
    all_is_well(world)


def obey_modes() -> None:
    """Let a superuser be bound by the modes of files as everybody else is."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


def test_a_log_with_a_torn_tail_is_taken_and_a_damaged_one_refused(world: World) -> None:
    whole = contents(world)
    log = whole["journal.db-wal"]
    assert len(log) > 20_000, "the killed host left too little"
    middle = len(log) // 2
    restore(world, {**whole, "journal.db-wal": log[:middle] + bytes([log[middle] ^ 0xFF]) + log[middle + 1 :]})
    refused(world, "is damaged")
    # The last write of a crash may be half there.
    restore(world, {**whole, "journal.db-wal": log + log[-5000:-1234]})
    all_is_well(world)


def test_a_corrupt_database_is_refused(world: World) -> None:
    all_is_well(world)  # what is in the log is in the database now
    whole = contents(world)
    database = whole["journal.db"]
    for start, end in ((0, 100), (4096, len(database))):
        noise = bytes(byte ^ 0x5A for byte in database[start:end])
        restore(world, {**whole, "journal.db": database[:start] + noise + database[end:]})
        refused(world, "journal.db")
    restore(world, whole)
    all_is_well(world)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a file's size is set for a running process")
def test_when_no_space_is_left_calls_are_denied_and_nothing_is_lost(world: World) -> None:
    told = Told()
    with hosts(world, told) as host:
        host.begin("full 3")
        host.ready()
        host.listen_for("full", WAIT_SECONDS)
        host.listen_to_code("penstock.journal", 10, WAIT_SECONDS)
        host.kill()
        (full,) = [place for place, line in enumerate(told.lines) if "full" in line]
        heard = [line for line in told.lines[full:] if "heard" in line]
        first = next(place for place, line in enumerate(heard) if line["code"] == "penstock.journal")
        # Those that were under way without a stage left to journal have their own denial.
        assert {line["heard"] for line in heard[first:]} == {"deny"}
        assert heard[-1]["code"] == "penstock.journal"
        host.begin("calm")
        assert host.ended() == 0
    check(runs_of(world.state), Ledger.read(world.ledger), told)
