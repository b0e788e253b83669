"""A journal is opened as it should be, or refused with the next thing to do. Refused files are left as they were."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from keeper import PATIENCE_SECONDS, HandLoop, Keeper, copied

from orchestrator.journal.errors import (
    JournalCorrupt,
    JournalError,
    JournalExposed,
    JournalLocked,
    JournalReadOnly,
    JournalVersion,
    KeyBroken,
    KeyExposed,
    KeyMissing,
)
from orchestrator.journal.opening import open_journal
from orchestrator.journal.schema import connect_reading, inspect

Opened = Callable[..., Keeper]


@pytest.fixture
def closed(opened: Opened) -> Path:
    """The folder of a journal that holds two runs and is not open."""
    keeper = opened()
    keeper.fill("r", 20)
    keeper.fill("s", 20)
    keeper.close()
    return keeper.folder


def _refused(folder: Path, error: type[JournalError]) -> JournalError:
    """Open, expect the error twice, and nothing changed by it."""
    before = _contents(folder)
    for _ in range(2):
        with pytest.raises(error) as refusal:
            open_journal(folder, loop=HandLoop(), machine=1)
        assert type(refusal.value) is error and refusal.value.code.startswith("penstock.") and refusal.value.hint
    assert _contents(folder) == before
    return refusal.value


def _contents(folder: Path) -> dict[str, bytes]:
    """Without what every opening touches; a log without a byte says nothing."""
    passing = {"journal.lock", "journal.db-shm"}
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in passing and path.is_file()}
    return {name: content for name, content in files.items() if content or name != "journal.db-wal"}


def test_files_are_their_owners_alone(opened: Opened) -> None:
    """Whatever the umask says, SQLite's own files included."""
    before = os.umask(0)
    try:
        keeper = opened()
        keeper.fill("r", 3)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in keeper.folder.iterdir()}
    assert set(modes) >= {"journal.db", "journal.db-wal", "journal.key", "journal.lock"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(keeper.folder.stat().st_mode) == 0o700


def test_a_body_is_not_to_be_found_in_the_files(opened: Opened) -> None:
    """Nor is a plan."""
    keeper = opened()
    keeper.fill("r", 3)
    assert not any(text in path.read_bytes() for path in _files(keeper) for text in (b"input", b"r/1", b"the plan"))
    keeper.close()
    assert not any(text in path.read_bytes() for path in _files(keeper) for text in (b"input", b"r/1", b"the plan"))


def _files(keeper: Keeper) -> list[Path]:
    return [*keeper.folder.iterdir()]


def test_a_second_opener_is_refused_at_once_and_told_who_has_it(opened: Opened) -> None:
    """In the same process too; the first goes on."""
    keeper = opened()
    with pytest.raises(JournalLocked) as refusal:
        open_journal(keeper.folder, loop=HandLoop(), machine=1)
    assert refusal.value.pid == os.getpid() and str(os.getpid()) in str(refusal.value)
    keeper.fill("r", 3)


def _hold(folder: Path, pipe: Connection) -> None:
    keeper = Keeper(folder)
    pipe.send(os.getpid())
    pipe.poll(PATIENCE_SECONDS)
    keeper.close()


def test_another_process_has_it_until_it_dies(tmp_path: Path) -> None:
    """However it dies."""
    here, there = multiprocessing.Pipe()
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(tmp_path / "journal", there))
    holder.start()
    try:
        assert here.poll(PATIENCE_SECONDS)
        pid = here.recv()
        with pytest.raises(JournalLocked) as refusal:
            open_journal(tmp_path / "journal", loop=HandLoop(), machine=1)
        assert refusal.value.pid == pid
    finally:
        holder.kill()
        holder.join(PATIENCE_SECONDS)
    Keeper(tmp_path / "journal").close()


def test_a_folder_that_others_may_enter_is_refused(closed: Path) -> None:
    """With the command that mends it."""
    closed.chmod(0o750)
    assert f"chmod 700 {closed}" in _refused(closed, JournalExposed).hint
    closed.chmod(0o700)
    Keeper(closed).close()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
def test_a_key_that_others_may_use_is_refused(closed: Path, mode: int) -> None:
    """With the command that mends it."""
    (closed / "journal.key").chmod(mode)
    assert f"chmod 600 {closed / 'journal.key'}" in _refused(closed, KeyExposed).hint
    (closed / "journal.key").chmod(0o600)
    Keeper(closed).close()


def test_a_journal_without_its_key_is_refused(closed: Path) -> None:
    """It never gets a new key, and the error says how a journal is moved."""
    kept = (closed / "journal.key").read_bytes()
    (closed / "journal.key").unlink()
    assert "moves with its journal.key" in _refused(closed, KeyMissing).hint
    _put_key(closed, kept)
    Keeper(closed).close()


def _put_key(folder: Path, text: bytes) -> None:
    (folder / "journal.key").write_bytes(text)
    (folder / "journal.key").chmod(0o600)


def test_a_log_without_database_and_key_is_a_journal_without_its_key(tmp_path: Path, opened: Opened) -> None:
    """What is left after somebody removed two of the three."""
    keeper = opened()
    keeper.fill("r", 3)
    left = copied(keeper.folder, tmp_path / "left")
    (left / "journal.db").unlink()
    _refused(left, JournalCorrupt)
    (left / "journal.key").unlink()
    _refused(left, KeyMissing)


def test_the_key_of_another_journal_is_refused(closed: Path, opened: Opened, tmp_path: Path) -> None:
    """At once, not at the first run that is read."""
    other = opened(tmp_path / "other")
    _put_key(closed, (other.folder / "journal.key").read_bytes())
    assert "is not the key file of its journal" in str(_refused(closed, KeyMissing))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"# nothing\n",
        b"garbage\n",
        b"00112233 AAAA\n",
        b"00112233 !!\n",
        b"\xff\xfe\n",
        (b"00112233 " + b"A" * 43 + b"=\n") * 2,
        b"#" * 100_000,
    ],
)
def test_a_key_file_that_cannot_be_understood_is_refused(closed: Path, text: bytes) -> None:
    """And what it says is not repeated: it may be half a secret."""
    _put_key(closed, text)
    message = str(_refused(closed, KeyBroken))
    assert "AAAA" not in message and "garbage" not in message


def _altered(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_newer_schema_is_refused_and_says_which_penstock_is_needed(closed: Path) -> None:
    """As the newer one wrote it."""
    changes = ("PRAGMA user_version=2", "UPDATE meta SET value = '7.3.1' WHERE name = 'penstock'")
    _altered(closed / "journal.db", *changes)
    assert "penstock 7.3.1 or a newer one" in _refused(closed, JournalVersion).hint


def test_a_database_of_somebody_else_is_refused(closed: Path) -> None:
    """A SQLite file is not a journal."""
    (closed / "journal.db").unlink()
    _altered(closed / "journal.db", "CREATE TABLE meta (name, value)")
    _refused(closed, JournalCorrupt)


@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096, 4097, 12288, 30000])
def test_a_database_cut_short_is_refused(closed: Path, size: int) -> None:
    """Wherever it was cut."""
    os.truncate(closed / "journal.db", size)
    _refused(closed, JournalCorrupt)


def test_garbage_is_refused(closed: Path) -> None:
    """Of any length."""
    (closed / "journal.db").write_bytes(os.urandom(50_000))
    _refused(closed, JournalCorrupt)


def test_a_page_of_garbage_is_refused(closed: Path) -> None:
    """Each page in turn: the check at opening reads all of them."""
    whole = (closed / "journal.db").read_bytes()
    for page in range(len(whole) // 4096):
        (closed / "journal.db").write_bytes(whole[: page * 4096] + b"\x5a" * 4096 + whole[(page + 1) * 4096 :])
        _refused(closed, JournalCorrupt)


def test_a_check_that_takes_too_long_is_given_up(closed: Path) -> None:
    """A large journal is served all the same; what is damaged in it shows when it is read."""
    whole = (closed / "journal.db").read_bytes()
    (closed / "journal.db").write_bytes(whole[:-4096] + b"\x5a" * 4096)
    connection = connect_reading(closed / "journal.db")
    connection.set_trace_callback(lambda statement: connection.interrupt())
    inspect(connection)
    connection.set_trace_callback(None)
    with pytest.raises(JournalCorrupt):
        inspect(connection)
    connection.close()


def test_a_kill_before_the_database_has_its_name_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """The key is there, and a database half made under another name."""
    folder = tmp_path / "journal"
    Keeper(folder).close()
    (folder / "journal.db").rename(folder / "journal.db.new")
    (folder / "journal.db.new-journal").write_bytes(b"half")
    (folder / "journal.key.new").write_bytes(b"half")
    keeper = Keeper(folder)
    keeper.fill("r", 3)
    keeper.close()


@contextmanager
def _as_nobody(folder: Path) -> Iterator[None]:
    """Rights bind nobody else than root; root becomes somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65534
    for path in (folder, *folder.iterdir()):
        os.chown(path, nobody, nobody)
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public(closed: Path) -> Iterator[Path]:
    """A journal where anybody can get to it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = copied(closed, Path(name) / "journal")
        (folder / "journal.lock").touch(mode=0o600)
        yield folder
        folder.chmod(0o700)


def test_a_folder_that_cannot_be_written_is_refused(public: Path) -> None:
    """Before anything else is tried."""
    (public / "journal.lock").unlink()
    with _as_nobody(public):
        public.chmod(0o500)
        assert "writable" in _refused(public, JournalReadOnly).hint


def test_a_database_that_cannot_be_written_is_refused(public: Path) -> None:
    """Not opened for reading alone: a run could then never end."""
    with _as_nobody(public):
        (public / "journal.db").chmod(0o400)
        _refused(public, JournalReadOnly)
        (public / "journal.db").chmod(0o600)
        Keeper(public).close()


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    """It is no folder."""
    (tmp_path / "journal").touch(mode=0o600)
    with pytest.raises(JournalError):
        open_journal(tmp_path / "journal", loop=HandLoop(), machine=1)
