"""The file with a journal's keys: read with suspicion, written whole or not at all."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from pathlib import Path

from orchestrator.journal.cipher import ID_BYTES, SECRET_BYTES, Key
from orchestrator.journal.errors import KeyBroken, KeyExposed, KeyMissing

__all__ = ["read_keys", "sync_folder", "write_keys"]

HEAD = "# Keys of a Penstock journal, newest first. Whoever has this file can read it; without it nobody can.\n"
MAX_FILE_BYTES = 64 * 1024
"""Hundreds of keys; a journal has one, and two while it is given a new one."""

_LINE = re.compile(rf"([0-9a-f]{{{2 * ID_BYTES}}}) ([A-Za-z0-9+/=]+)")


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read the keys, newest first. Raise KeyMissing, KeyExposed or KeyBroken; OSError as it comes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeyMissing(f"{path} is missing beside its journal") from None
    with os.fdopen(descriptor, "rb") as stream:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise KeyBroken(f"{path} is not a file")
        if mode & 0o077:
            raise KeyExposed(
                f"others than its owner may use {path} (mode {stat.S_IMODE(mode):04o})",
                hint=f"chmod 600 {path}; if somebody may have read it, then give the journal a new key",
            )
        text = stream.read(MAX_FILE_BYTES + 1)
    return _understood(path, text)


def _understood(path: Path, text: bytes) -> tuple[Key, ...]:
    lines = text.decode("ascii", "replace").splitlines()
    written = [line for line in lines if line.strip() and not line.startswith("#")]
    keys = tuple(_key(path, line) for line in written)
    if not keys or len(text) > MAX_FILE_BYTES:
        raise KeyBroken(f"{path} does not hold a key" if not keys else f"{path} is no key file")
    if len({key.id for key in keys}) != len(keys):
        raise KeyBroken(f"{path} has two keys of one id")
    return keys


def _key(path: Path, line: str) -> Key:
    """Read one line. What it says never becomes part of a message: it may be a secret."""
    match = _LINE.fullmatch(line.strip())
    try:
        secret = base64.b64decode(match[2], validate=True) if match else b""
    except binascii.Error:
        secret = b""
    if match is None or len(secret) != SECRET_BYTES:
        raise KeyBroken(f"{path} has a line that is no key")
    return Key(bytes.fromhex(match[1]), secret)


def write_keys(path: Path, keys: tuple[Key, ...]) -> None:
    """Put these keys in place of the old ones: after a crash at any moment the file holds the one or the other."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        lines = [f"{key.id.hex()} {base64.b64encode(key.secret).decode()}\n" for key in keys]
        stream.write(HEAD + "".join(lines))
        stream.flush()
        os.fsync(descriptor)
    os.replace(fresh, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
