"""Applies what is saved: told that something changed, it looks whether the content did, and asks for the change once.

What was refused is not tried again until the content is another one; a command may ask for it at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from isolation.store.folder import FolderChanged, Unfit, take_picture
from orchestrator.loading import Footprint
from orchestrator.revisions.freezing import Freezing
from orchestrator.revisions.refusal import ChangeNotMade
from orchestrator.revisions.revisions import Revisions

__all__ = ["WATCHER", "Follower"]

log = logging.getLogger("penstock.revisions")

WATCHER = "watcher"
"""Who wanted a change that was only saved."""


class Follower:
    """`look` is called after something changed; one look waits for the other."""

    def __init__(self, revisions: Revisions, freezing: Freezing) -> None:
        self._revisions = revisions
        self._freezing = freezing
        self._turn = asyncio.Lock()
        self._seen = b""

    @property
    def footprint(self) -> Footprint:
        """What is to be watched now."""
        return self._revisions.candidates.footprint

    async def look(self) -> None:
        """Apply the content, if it is another one than that looked at last."""
        async with self._turn:
            await self._look()

    async def _look(self) -> None:
        if self._freezing.on:
            return
        digest = await asyncio.to_thread(self._digest)
        if digest == self._seen:
            return
        self._seen = digest
        with contextlib.suppress(ChangeNotMade):  # it is written down, and told to everybody who listens
            await self._revisions.apply(WATCHER)

    def _digest(self) -> bytes:
        hashed = hashlib.sha256()
        for name, content in self._everything():
            hashed.update(os.fsencode(name) + b"\0" + content + b"\0")
        return hashed.digest()

    def _everything(self) -> Iterator[tuple[str, bytes]]:
        footprint = self.footprint
        for name in sorted(footprint.files):
            yield name, _content(Path(name))
        for name in sorted(footprint.plugins):
            path = Path(name)
            if path.is_dir():
                yield name, _picture(path)
            else:  # one file, with its lock beside it
                yield name, _content(path)
                yield f"{name}.lock", _content(Path(f"{name}.lock"))


def _content(path: Path) -> bytes:
    try:
        return b"+" + hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        return b"-" + str(error.errno).encode()


def _picture(folder: Path) -> bytes:
    """What of a plugin's folder goes into a snapshot."""
    try:
        return msgspec.json.encode(take_picture(folder).identity())
    except (FolderChanged, Unfit, OSError) as error:
        return repr(error).encode("utf-8", "backslashreplace")
