"""What the journal holds of a run, as bytes and back: events with what was known of them, and what the run began with.

MessagePack, one struct a kind. A member is only ever added at the end, with a default; anything else is a new
`MACHINE_VERSION`.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

import msgspec

from orchestrator.faults import StageFault
from pipelines.run import (
    BEGIN,
    Answered,
    Command,
    Confirmed,
    Event,
    FinalsEnded,
    Halt,
    Parked,
    Resume,
    Revoke,
    Settled,
    Undone,
)

__all__ = [
    "AnsweredEntry",
    "BeginEntry",
    "FaultEntry",
    "FinalEntry",
    "FinalsEntry",
    "HaltEntry",
    "RevokeEntry",
    "SettledEntry",
    "UndoEntry",
    "commands_digest",
    "kind_of",
    "pack",
    "told",
    "unpack",
]


class FaultEntry(msgspec.Struct, array_like=True, frozen=True):
    """A StageFault."""

    kind: str
    code: str
    message: str
    sent: bool
    final: bool

    @classmethod
    def of(cls, fault: StageFault | None) -> FaultEntry | None:
        """The entry of a fault."""
        return None if fault is None else cls(fault.kind, fault.code, fault.message, fault.sent, fault.final)

    @property
    def fault(self) -> StageFault:
        """The fault again."""
        return StageFault(self.kind, self.code, self.message, self.sent, self.final)


class BeginEntry(msgspec.Struct, array_like=True, frozen=True):
    """What a run began with; `deadline_ms` is its whole budget. Stands in the row of the run."""

    payload: bytes
    context: bytes
    deadline_ms: float
    trace: str = ""


class SettledEntry(msgspec.Struct, array_like=True, frozen=True):
    """The end of a stage. `variant` is its place among the plan's; `answer` what the plugin said, where it counted.

    `spent_ms` is the time since the run began, `id` the stage's name, for people whose plan is gone.
    """

    stage: int
    state: str
    effect: str
    why: str | None
    variant: int
    tried: int
    worker: str
    spent_ms: float
    answer: bytes | None = None
    fault: FaultEntry | None = None
    id: str = ""


class HaltEntry(msgspec.Struct, array_like=True, frozen=True):
    """Why a run was ended from outside."""

    fault: FaultEntry | None


class AnsweredEntry(msgspec.Struct, array_like=True, frozen=True):
    """The verdict; what it consists of follows from the events before it. `fault` where it does not."""

    denied: bool
    awaits: bool
    spent_ms: float
    fault: FaultEntry | None = None


class RevokeEntry(msgspec.Struct, array_like=True, frozen=True):
    """Why an allowed run is undone."""

    why: str


class UndoEntry(msgspec.Struct, array_like=True, frozen=True):
    """The end of a compensation. `input` is what the plugin was sent, None where no call was needed."""

    stage: int
    tried: int = 0
    input: bytes | None = None
    fault: FaultEntry | None = None
    id: str = ""


class FinalEntry(msgspec.Struct, array_like=True, frozen=True):
    """The end of one stage of `finally`."""

    id: str
    state: str
    tried: int
    fault: FaultEntry | None


class FinalsEntry(msgspec.Struct, array_like=True, frozen=True):
    """The end of `finally`."""

    finals: tuple[FinalEntry, ...]


_Entry = TypeVar("_Entry", bound=msgspec.Struct)
_encode = msgspec.msgpack.Encoder().encode

_KINDS: dict[type, str] = {
    type(BEGIN): "begin",
    Settled: "settled",
    Halt: "halt",
    Answered: "answered",
    Confirmed: "confirmed",
    Revoke: "revoke",
    Undone: "undone",
    Parked: "parked",
    Resume: "resume",
    FinalsEnded: "finals_ended",
}


_ENTRIES: dict[str, type[msgspec.Struct]] = {
    "settled": SettledEntry,
    "halt": HaltEntry,
    "answered": AnsweredEntry,
    "revoke": RevokeEntry,
    "undone": UndoEntry,
    "parked": UndoEntry,
    "finals_ended": FinalsEntry,
}


def told(kind: str, body: bytes) -> dict[str, object]:
    """What an event holds, for people. Raises msgspec.DecodeError."""
    entry = _ENTRIES.get(kind)
    return {} if entry is None else _plain(unpack(entry, body))


def _plain(entry: msgspec.Struct) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in msgspec.structs.asdict(entry).items():
        if isinstance(value, bytes):
            values[name] = msgspec.json.decode(value)
        elif isinstance(value, msgspec.Struct):
            values[name] = _plain(value)
        elif isinstance(value, tuple):
            values[name] = [_plain(one) for one in value]
        elif value is not None and value != "":
            values[name] = value
    return values


def kind_of(event: Event) -> str:
    """The word that stands beside an event in the journal."""
    return _KINDS[type(event)]


def pack(entry: msgspec.Struct) -> bytes:
    """Encode an entry."""
    return _encode(entry)


def unpack(kind: type[_Entry], body: bytes) -> _Entry:
    """Decode one; raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(body, type=kind)


def commands_digest(commands: tuple[Command, ...]) -> bytes:
    """8 bytes that tell the commands of one event from any others."""
    plain = [(type(command).__name__, *command) for command in commands]
    return hashlib.blake2b(_encode(plain), digest_size=8).digest()
