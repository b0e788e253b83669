"""Opens a journal, or refuses: whatever is not right is said before anything is changed."""

from __future__ import annotations

import importlib.metadata
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from orchestrator.journal import wal
from orchestrator.journal.cipher import Cipher, Entropy, Key, NotOurs, new_key
from orchestrator.journal.errors import JournalCorrupt, JournalLocked, KeyMissing
from orchestrator.journal.files import Files
from orchestrator.journal.journal import QUEUE_BYTES, Journal, Loop
from orchestrator.journal.keyfile import read_keys, write_keys
from orchestrator.journal.places import SEAL_OWNER, SEAL_PLACE
from orchestrator.journal.schema import connect_reading, connect_writing, create, inspect, named, read_meta, recognise

__all__ = ["open_journal"]


def open_journal(
    folder: Path,
    *,
    loop: Loop,
    machine: int,
    max_bytes: int | None = None,
    queue_bytes: int = QUEUE_BYTES,
    clock: Callable[[], float] = time.monotonic,
    entropy: Entropy = os.urandom,
) -> Journal:
    """Open the journal of a folder, or make one. Blocks for the disk; whatever is wrong raises a JournalError.

    `machine` is the version of the run machine, kept with every run that begins. `max_bytes` bounds the database file:
    over it the journal fails as on a full disk. `queue_bytes` bounds what may wait for the disk.

    The folder holds `journal.db` (with SQLite's `-wal` and `-shm`), `journal.key` without which nobody can read it, and
    `journal.lock`, held while the journal is open; the kernel frees it however the process dies.
    """
    files = Files(Path(os.path.abspath(folder)))
    with ExitStack() as stack:
        try:
            files.make_folder()
            stack.callback(files.lock().release)
            cipher = Cipher(_keys(files, entropy), entropy)
            _create(files, cipher)
            _require_writable(files)
            reading = stack.enter_context(closing(connect_reading(files.database)))
            _examine(files, reading, cipher)
            connection = stack.enter_context(closing(connect_writing(files.database, max_bytes=max_bytes)))
            _take_over(connection)
            owned = ExitStack()
            journal = Journal(
                files,
                connection,
                reading,
                cipher,
                loop,
                machine=machine,
                queue_bytes=queue_bytes,
                clock=clock,
                entropy=entropy,
                stack=owned,
            )
            owned.push(stack.pop_all())
            return journal
        except (sqlite3.Error, OSError) as error:
            raise named(error) from error


def _keys(files: Files, entropy: Entropy) -> tuple[Key, ...]:
    """Read the keys. Only a journal that does not exist yet gets new ones, before it is made."""
    if not files.keys.exists():
        if files.database.exists() or files.log.exists():
            raise KeyMissing(f"{files.keys} is missing beside its journal")
        write_keys(files.keys, (new_key(entropy),))
    return read_keys(files.keys)


def _create(files: Files, cipher: Cipher) -> None:
    """Make the database where there is none. A log alone is what is left of a journal, and SQLite would drop it."""
    if files.database.exists():
        if files.database.stat().st_size == 0:
            raise JournalCorrupt(f"{files.database} is empty")
        return
    if files.log.exists() and files.log.stat().st_size:
        raise JournalCorrupt(f"{files.database} is missing beside its log")
    version = importlib.metadata.version("penstock")
    create(files.database, {"seal": cipher.seal(SEAL_OWNER, SEAL_PLACE, b""), "penstock": version})


def _require_writable(files: Files) -> None:
    """Raise OSError where a file cannot be written, before SQLite makes others after its likeness beside it."""
    for path in (files.database, files.log, files.index):
        if path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))


def _examine(files: Files, connection: sqlite3.Connection, cipher: Cipher) -> None:
    """Refuse what is damaged, tomorrow's or not ours, over a connection that changes neither database nor log."""
    damage = wal.damage(files.log)
    if damage is not None:
        raise JournalCorrupt(f"{files.log} is damaged: {damage}")
    recognise(connection)
    inspect(connection)
    seal = read_meta(connection).get("seal")
    try:
        cipher.open(SEAL_OWNER, SEAL_PLACE, seal if isinstance(seal, bytes) else b"")
    except NotOurs as error:
        raise KeyMissing(f"{files.keys} is not the key file of its journal: {error}") from None


def _take_over(connection: sqlite3.Connection) -> None:
    """Fold in what the last process left in the log.

    What SQLite found there may have been written but never synced; whoever acts on it has to know that it stays.
    Folding writes it anew and syncs it.
    """
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise JournalLocked("another program reads journal.db", None)
