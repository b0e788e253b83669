"""Everything that can go wrong with a journal. Each error has a stable `code` and a `hint` with the next action."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.journal.rows import RunRow

__all__ = [
    "BodyTooLarge",
    "EntryRefused",
    "JournalClosed",
    "JournalCorrupt",
    "JournalDiskFull",
    "JournalError",
    "JournalExposed",
    "JournalFailed",
    "JournalFull",
    "JournalLocked",
    "JournalReadOnly",
    "JournalVersion",
    "KeyBroken",
    "KeyExposed",
    "KeyMissing",
    "KeyTaken",
    "Unreadable",
]


class JournalError(Exception):
    """Root of this package's errors."""

    code = "penstock.journal"
    hint = "the operating system's words above say what to look at"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class JournalLocked(JournalError):
    """Another process has the journal open. `pid` is its process, None where it did not say."""

    code = "penstock.journal_locked"
    hint = "stop that process, or give this one a journal folder of its own"

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class JournalVersion(JournalError):
    """A newer penstock wrote the journal."""

    code = "penstock.journal_version"


class JournalCorrupt(JournalError):
    """The files are no journal, or damaged. Nothing was changed or repaired."""

    code = "penstock.journal_corrupt"
    hint = (
        "keep a copy of the whole folder, then restore a backup or move the folder away; "
        "what its runs did outside has to be looked up there"
    )


class JournalReadOnly(JournalError):
    """The folder or a file in it cannot be written."""

    code = "penstock.journal_read_only"
    hint = "make the folder and its files writable for this user"


class JournalDiskFull(JournalError):
    """There is no room for another page: the disk is full, or the journal has reached its `max_bytes`."""

    code = "penstock.journal_disk_full"
    hint = "free some space and start again; `penstock runs prune` keeps a journal small"


class JournalExposed(JournalError):
    """Others than the owner may enter the folder."""

    code = "penstock.journal_exposed"


class JournalFull(JournalError):
    """Too many bytes wait for the disk. Nothing was taken; the same submission may succeed in a moment."""

    code = "penstock.journal_full"
    hint = "the disk is slower than the runs; try again, or run fewer durable runs at once"


class JournalFailed(JournalError):
    """A commit failed, so the journal takes nothing more. Whether the submission became durable shows when it is
    opened again; it was not reported durable. `__cause__` is the error that ended it.
    """

    code = "penstock.journal_failed"
    hint = "restart the host once the cause is gone; runs that were going are taken up from the journal"


class JournalClosed(JournalError):
    """The journal was closed before; nothing was taken."""

    code = "penstock.journal_closed"
    hint = "the host is stopping; send the call to another one, or again after its start"


class EntryRefused(JournalError):
    """The submission contradicts what the journal holds (an unknown run, a number out of order): a bug of the caller.

    Nothing was written, and the journal goes on.
    """

    code = "penstock.journal_refused"
    hint = "this is a bug of the host; please report it with its log"


class BodyTooLarge(JournalError):
    """A body is larger than a journal keeps. Nothing was taken."""

    code = "penstock.journal_too_large"
    hint = "a payload this large cannot be part of a durable run"


class KeyTaken(JournalError):
    """The pipeline has a run with this idempotency key: `existing`. Nothing was written."""

    code = "penstock.journal_key_taken"
    hint = "the run that has the key holds the answer"

    def __init__(self, existing: RunRow) -> None:
        super().__init__(f"run {existing.id} of pipeline {existing.pipeline} has this idempotency key")
        self.existing = existing


class KeyMissing(JournalError):
    """The key file does not stand beside the journal, or does not hold the key that the journal was written with."""

    code = "penstock.journal_key_missing"
    hint = (
        "a journal moves with its journal.key: bring the file back from where the journal was, or from its backup; "
        "without it nobody can read these runs, and only moving journal.db away lets a new journal begin"
    )


class KeyExposed(JournalError):
    """Others than its owner may read the key file."""

    code = "penstock.journal_key_exposed"


class KeyBroken(JournalError):
    """The key file cannot be understood."""

    code = "penstock.journal_key_broken"
    hint = "bring the file back from its backup"


class Unreadable(JournalError):
    """One run cannot be read: damaged, or written with a key that is gone. `run` is its id; the others go on."""

    code = "penstock.journal_unreadable"
    hint = "look up outside what the run did, then `penstock runs park` it; a backup may still have it"

    def __init__(self, run: str, reason: str) -> None:
        super().__init__(f"run {run} cannot be read: {reason}")
        self.run = run
        self.reason = reason
