"""What was changed when, by whom and with what outcome, and the plan of every revision: one folder for each file.

`history.jsonl` is only appended to, an entry a line. The archive of a revision is written before it takes its first
call, so that whatever is in service can be had again.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from orchestrator.revisions.archive import ArchivedRevision, read_archived_revision

__all__ = ["Entry", "History", "NoSuchRevision", "Outcome", "write_whole"]

HISTORY = "history.jsonl"
PASSED_OVER = "passed_over"
"""There as long as the files hold what was rolled back from."""

KEPT_ENTRIES = 1000
"""Older ones are dropped when a host starts, with the archives that only they name."""


class Outcome(enum.Enum):
    """What became of a change. Of several entries of one revision the last one holds."""

    APPLIED = "applied"
    REFUSED = "refused"
    CANARY = "canary"
    PROMOTED = "promoted"
    ABORTED = "aborted"


IN_SERVICE = frozenset({Outcome.APPLIED, Outcome.PROMOTED})


class NoSuchRevision(Exception):
    """There is no such revision, or its plan cannot be had any more; the message says which there are."""

    code = "penstock.no_such_revision"
    hint = "`penstock history` lists the revisions"


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change. `at` is in seconds since 1970. `number` is 0 where no revision was made.

    `by` is `uid:N`, `watcher`, `start` or `override`. `after` is the revision that served before, `of` the one whose
    plan was put into service again.
    `commit` is the git commit of the files, with "+" where they differed from it; `files` are those that were read.
    """

    at: float
    by: str
    outcome: Outcome
    number: int = 0
    after: int = 0
    of: int = 0
    code: str = ""
    reason: str = ""
    where: str = ""
    commit: str = ""
    files: tuple[str, ...] = ()
    change: Mapping[str, object] = {}


_entry = msgspec.json.Decoder(Entry)


class History:
    """The history in `folder`; in memory alone where that is None. Blocks. A host has one."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._archives: dict[int, bytes] = {}
        self.entries: list[Entry] = []
        self.passed_over = ""

    def load(self) -> None:
        """Read what earlier hosts wrote. A line that a crash tore says nothing. Raises OSError."""
        if self._folder is None:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.passed_over = (self._folder / PASSED_OVER).read_text()
        with contextlib.suppress(FileNotFoundError):
            for line in (self._folder / HISTORY).read_bytes().split(b"\n"):
                with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    self.entries.append(_entry.decode(line))
        if len(self.entries) > KEPT_ENTRIES:
            self._forget()

    def _forget(self) -> None:
        assert self._folder is not None
        self.entries = self.entries[-KEPT_ENTRIES:]
        text = b"".join(msgspec.json.encode(entry) + b"\n" for entry in self.entries)
        write_whole(self._folder / HISTORY, text)
        needed = {number for entry in self.entries for number in (entry.number, entry.of, entry.after)}
        for path in self._folder.glob("*.plan"):
            if path.stem.isdigit() and int(path.stem) not in needed:
                path.unlink(missing_ok=True)

    # Writing.

    def add(self, entry: Entry) -> None:
        """Append an entry. Raises OSError; it is remembered all the same."""
        self.entries.append(entry)
        if self._folder is None:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._folder / HISTORY, flags, 0o600)
        try:
            line = b"\n" * self._torn() + msgspec.json.encode(entry) + b"\n"
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder / HISTORY))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _torn(self) -> bool:
        """Whether the last line has no end: what follows on it must not be lost with it."""
        assert self._folder is not None
        with open(self._folder / HISTORY, "rb") as file:
            if not file.seek(0, os.SEEK_END):
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"

    def keep(self, number: int, archive: bytes) -> None:
        """Keep the plan of a revision. Raises OSError."""
        if self._folder is None:
            self._archives[number] = archive
        else:
            write_whole(self._path(number), archive)

    def discard(self, number: int) -> None:
        """Forget the plan of a revision that never was."""
        self._archives.pop(number, None)
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._path(number).unlink()

    def pass_over(self, content: str) -> None:
        """Note by its digest what the files hold that was rolled back from; "" once they are followed again.

        Raises OSError.
        """
        self.passed_over = content
        if self._folder is not None and content:
            write_whole(self._folder / PASSED_OVER, content.encode())
        elif self._folder is not None:
            (self._folder / PASSED_OVER).unlink(missing_ok=True)

    # Reading.

    @property
    def folder(self) -> Path | None:
        """Where it is kept; None where it is in memory alone."""
        return self._folder

    def latest_plans(self, count: int) -> list[int]:
        """The revisions whose plans served last, each plan once, the newest first."""
        served = [entry.number for entry in reversed(self.entries) if entry.outcome in IN_SERVICE]
        return list(dict.fromkeys(map(self.plan_of, served)))[:count]

    @property
    def latest_served(self) -> int:
        """The revision that served last; 0 where none did."""
        return next((entry.number for entry in reversed(self.entries) if entry.outcome in IN_SERVICE), 0)

    @property
    def on_trial(self) -> bool:
        """Whether the last revision was put on trial, and nobody has ended that: its host was killed."""
        made = next((entry for entry in reversed(self.entries) if entry.number), None)
        return made is not None and made.outcome is Outcome.CANARY

    @property
    def next_number(self) -> int:
        """The number of the next revision: none is given twice, also where its entry could not be written."""
        given = [entry.number for entry in self.entries]
        if self._folder is not None:
            given += [int(path.stem) for path in self._folder.glob("*.plan") if path.stem.isdigit()]
        return max([*given, *self._archives], default=0) + 1

    def outcome(self, number: int) -> Outcome | None:
        """What became of a revision; None where there is none."""
        found = self.entry(number)
        return None if found is None else found.outcome

    def entry(self, number: int) -> Entry | None:
        """The last entry of a revision."""
        return next((entry for entry in reversed(self.entries) if entry.number == number and number), None)

    def served(self) -> list[int]:
        """The revisions that took all calls once, oldest first."""
        numbers = dict.fromkeys(entry.number for entry in self.entries if entry.outcome in IN_SERVICE)
        return sorted(numbers)

    def plan_of(self, number: int) -> int:
        """The revision that first had the plan of this one: itself where the plan was new."""
        found = self.entry(number)
        return number if found is None else found.of or number

    def before(self, number: int) -> int:
        """The revision that a rollback from `number` leads to: whose plan served when that of `number` was new.

        So who goes back twice goes back two changes, and what was rolled back once is not come back to by another
        rollback. Raises NoSuchRevision.
        """
        plan = self.plan_of(number)
        found = self.entry(plan)
        earlier = 0 if found is None else self.plan_of(found.after)
        if not earlier or earlier == plan:
            raise NoSuchRevision(f"there is no revision before {plan} to go back to")
        return earlier

    def archive(self, number: int) -> ArchivedRevision:
        """The plan of a revision. Raises NoSuchRevision."""
        try:
            body = self._archives[number] if self._folder is None else self._path(number).read_bytes()
            return read_archived_revision(body)
        except (KeyError, FileNotFoundError):
            if self.entry(number) is not None:
                raise NoSuchRevision(f"the plan of revision {number} is gone from the state folder") from None
            known = ", ".join(map(str, self.served()[-10:])) or "none"
            raise NoSuchRevision(f"there is no revision {number}; the latest are {known}") from None
        except (OSError, msgspec.DecodeError) as error:
            raise NoSuchRevision(f"the plan of revision {number} cannot be read: {error}") from error

    def _path(self, number: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{number:06}.plan"


def write_whole(path: Path, content: bytes) -> None:
    """Put a file into place whole, for this user's eyes. Raises OSError, which has the name of a file."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:  # a full disk is told of a descriptor, which names nothing
        raise OSError(error.errno, error.strerror, str(fresh)) from error
    fresh.replace(path)
