"""The state folder: whether journals and the memory of runs can be written there, and are their owner's alone."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from isolation.store.filelock import FileLock, LockMode, LockTimeout
from orchestrator.control.socket import SOCKET
from orchestrator.doctor.finding import Finding, error, ok, warning
from orchestrator.doctor.places import existing, why_not_writable
from orchestrator.journal.errors import JournalError
from orchestrator.journal.files import Files
from orchestrator.journal.keyfile import read_keys
from orchestrator.state import OTHERS_MAY

__all__ = ["examine_journal", "examine_state"]

MAX_PID_CHARACTERS = 20


def examine_state(root: Path) -> Iterator[Finding]:
    """Look at the folder that holds one folder for each pipeline file."""
    place = existing(root)
    reason = why_not_writable(place)
    if reason is None:
        yield ok("state", f"{root}{'' if place == root else ' (made on first use)'}")
    else:
        remedy = "make it writable, or name another folder in PENSTOCK_STATE"
        yield error("state", f"{root} cannot be written: {reason}; durable pipelines cannot start", remedy)


def examine_journal(folder: Path) -> Iterator[Finding]:
    """Look at the state of one pipeline file. Nothing is opened that a host would have to wait for."""
    if not folder.is_dir():
        yield ok("journal", f"none yet; it will be in {folder}")
        return
    yield _folder(folder)
    files = Files(folder)
    if files.database.exists() or files.keys.exists():
        yield _key(files)
        yield from _exposed_files(files)
    yield _holder(files)


def _folder(folder: Path) -> Finding:
    subject, mode = "state folder", stat.S_IMODE(folder.stat().st_mode)
    if mode & OTHERS_MAY:
        said = f"others than its owner may enter {folder} (mode {mode:04o}): no journal is opened, no command taken"
        return error(subject, said, f"`chmod 700 {folder}`")
    reason = why_not_writable(folder)
    if reason is not None:
        return error(subject, f"{folder} cannot be written: {reason}", "make it writable for this user")
    return ok(subject, f"{folder}, its owner's alone")


def _key(files: Files) -> Finding:
    subject = "journal key"
    try:
        count = len(read_keys(files.keys))
    except JournalError as failure:
        return error(subject, str(failure), failure.hint)
    except OSError as failure:
        return error(subject, f"{files.keys} cannot be read: {failure.strerror}", "make it readable for this user")
    if count > 1:
        said = f"{count} keys: a change of keys was begun and not finished"
        return warning(subject, said, "`penstock runs rekey` finishes it")
    return ok(subject, f"{files.keys}; keep a backup of it beside that of the journal, and not with it")


def _exposed_files(files: Files) -> Iterator[Finding]:
    for path in (files.database, files.log):
        if path.exists() and path.stat().st_mode & OTHERS_MAY:
            mode = stat.S_IMODE(path.stat().st_mode)
            yield warning("journal file", f"{path} is open to others (mode {mode:04o})", f"`chmod 600 {path}`")


def _holder(files: Files) -> Finding:
    subject = "journal"
    size = sum(path.stat().st_size for path in (files.database, files.log) if path.exists())
    said = f"{size / 2**20:.1f} MiB" if size else "none"
    if not files.lock_file.exists():
        return ok(subject, f"{said}, no host has it open")
    try:
        FileLock.take(files.lock_file, LockMode.EXCLUSIVE).release()
    except LockTimeout:
        pid = files.lock_file.read_text("ascii", "replace")[:MAX_PID_CHARACTERS].strip()
        commands = "takes commands" if (files.folder / SOCKET).exists() else "takes no commands yet"
        return ok(subject, f"{said}, held by process {pid or 'unknown'}, which {commands}")
    except OSError as failure:
        return error(subject, f"{files.lock_file}: {failure.strerror}", "make it writable for this user")
    return ok(subject, f"{said}, no host has it open")
