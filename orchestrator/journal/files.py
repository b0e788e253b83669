"""The folder of a journal: what lies in it, whose it is, and who has it open."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from isolation.store.filelock import FileLock, LockMode, LockTimeout
from orchestrator.journal.errors import JournalExposed, JournalLocked

__all__ = ["Files"]

MAX_PID_CHARACTERS = 20


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a journal, whether they are there or not."""

    folder: Path

    @property
    def database(self) -> Path:
        """SQLite's file."""
        return self.folder / "journal.db"

    @property
    def log(self) -> Path:
        """SQLite's write-ahead log."""
        return self.folder / "journal.db-wal"

    @property
    def index(self) -> Path:
        """SQLite's index of its log, shared by connections and made anew after a crash."""
        return self.folder / "journal.db-shm"

    @property
    def keys(self) -> Path:
        """What bodies are encrypted with."""
        return self.folder / "journal.key"

    @property
    def lock_file(self) -> Path:
        """Locked while the journal is open; holds the pid of the process that has it."""
        return self.folder / "journal.lock"

    def make_folder(self) -> None:
        """Make the folder, for its owner alone. Raise JournalExposed where it is there and open to others."""
        try:
            self.folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            mode = stat.S_IMODE(self.folder.stat().st_mode)
            if mode & 0o077:
                raise JournalExposed(
                    f"others than its owner may enter {self.folder} (mode {mode:04o})",
                    hint=f"chmod 700 {self.folder}",
                ) from None

    def lock(self) -> FileLock:
        """Take the journal for this process, at once. Raise JournalLocked."""
        try:
            lock = FileLock.take(self.lock_file, LockMode.EXCLUSIVE)
        except LockTimeout:
            pid = self._holder()
            who = "another process" if pid is None else f"process {pid}"
            raise JournalLocked(f"{who} has the journal {self.folder} open", pid) from None
        os.ftruncate(lock.descriptor, 0)
        os.pwrite(lock.descriptor, f"{os.getpid()}\n".encode(), 0)
        return lock

    def _holder(self) -> int | None:
        with self.lock_file.open("rb") as stream:
            written = stream.read(MAX_PID_CHARACTERS).strip()
        return int(written) if written.isdigit() else None
