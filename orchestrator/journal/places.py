"""Where a body stands, as the bytes that its encryption is bound to: all of its row that never changes.

So a body that is put into another row, and a row whose other columns were altered, cannot be read.
"""

from __future__ import annotations

import struct

from orchestrator.journal.rows import RunRow

__all__ = ["IDENTITY", "SEAL_OWNER", "SEAL_PLACE", "event_place", "identity_of", "plan_place", "run_place"]

SEAL_OWNER = ""
SEAL_PLACE = b"meta"
"""Of the one sealed value by which a wrong key file is told at once."""

_EVENT = struct.Struct(">QdI")

IDENTITY = ("id", "pipeline", "hook", "plan", "key", "key_digest", "machine", "started_at")
"""The columns of a run that never change."""


def identity_of(run: RunRow) -> tuple[object, ...]:
    """What never changes, in the order of IDENTITY."""
    begun = float(run.started_at)
    return run.id, run.pipeline, run.hook, run.plan, run.key, run.key_digest, run.machine, begun


def run_place(identity: tuple[object, ...]) -> bytes:
    """The place of a run's body."""
    # `ascii` writes values so that no two tuples look alike, and the same in every version of Python.
    return b"run" + ascii(identity).encode()


def event_place(seq: int, kind: str, at: float, commands: bytes) -> bytes:
    """The place of an event's body within its run; the run is in the key."""
    word = kind.encode()
    return b"event" + _EVENT.pack(seq, at, len(word)) + word + commands


def plan_place(digest: str) -> bytes:
    """The place of a plan."""
    return b"plan" + ascii(digest).encode()
