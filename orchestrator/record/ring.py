"""The memory of runs: what each came to, bounded. What was denied, failed, undone, parked or slow is kept longer."""

from __future__ import annotations

import contextlib
import heapq
import os
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

import msgspec

__all__ = ["RECENT_RUNS", "SLOWEST_RUNS", "TROUBLED_RUNS", "UNTAKEN_CALLS", "Entry", "Remembered", "Ring", "Untaken"]

RECENT_RUNS = 10_000
TROUBLED_RUNS = 2_000
"""Of those denied, failed, undone or parked."""
SLOWEST_RUNS = 100
UNTAKEN_CALLS = 1000
RUNS_ASKED_FOR = 256
"""Whoever still speaks of a run that is over speaks of a recent one."""


class Entry(Protocol):
    """A run that is over, as the ring keeps it. `seconds` is what its verdict took, `began` since 1970."""

    @property
    def run_id(self) -> str:
        """Its name."""

    @property
    def pipeline(self) -> str:
        """The pipeline's name."""

    @property
    def request_id(self) -> str:
        """What its caller called the request; "" where it did not."""

    @property
    def trace(self) -> str:
        """The W3C traceparent of the request; "" where there was none."""

    @property
    def verdict(self) -> str | None:
        """allow, modify or deny."""

    @property
    def status(self) -> str:
        """As in the journal."""

    @property
    def durable(self) -> bool:
        """Whether a journal knows of it, too."""

    @property
    def began(self) -> float:
        """When."""

    @property
    def seconds(self) -> float:
        """How long."""

    @property
    def troubled(self) -> bool:
        """Whether it is kept longer: denied, failed, undone or parked."""

    def succeeded(self, stage: str) -> bool:
        """Whether a stage was asked and had nothing against it."""

    def record(self) -> dict[str, object]:
        """The JSON object of `penstock runs`."""


class Remembered(msgspec.Struct):
    """An entry that was read from a file; `line` is the whole of it."""

    run_id: str
    pipeline: str
    verdict: str | None
    status: str
    durable: bool
    began: float
    duration_ms: float | None
    error: dict[str, object] | None
    request_id: str = ""
    trace: str = ""
    line: bytes = b""

    @property
    def seconds(self) -> float:
        """How long its verdict took."""
        return (self.duration_ms or 0.0) / 1000

    @property
    def troubled(self) -> bool:
        """As with a Summary."""
        return self.verdict == "deny" or self.error is not None or self.status != "completed"

    def succeeded(self, stage: str) -> bool:
        """As with a Summary."""
        stages = self.record().get("stages")
        found = stages.get(stage) if isinstance(stages, dict) else None
        return isinstance(found, dict) and found.get("state") == "succeeded" and found.get("violation") is None

    def record(self) -> dict[str, object]:
        """The object as it was written."""
        record: dict[str, object] = msgspec.json.decode(self.line)
        return record


_remembered = msgspec.json.Decoder(Remembered)


class Untaken(msgspec.Struct, frozen=True):
    """A call that no pipeline took: none applied, or it was refused before. `at` is in seconds since 1970."""

    request_id: str
    hook: str
    verdict: str
    code: str | None
    reason: str | None
    at: float


class Ring:
    """Takes summaries as they are; makes records of them when somebody looks. One thread uses it, the event loop's."""

    def __init__(self) -> None:
        self._recent = deque[Entry](maxlen=RECENT_RUNS)
        self._troubled = deque[Entry](maxlen=TROUBLED_RUNS)
        self._slowest: list[tuple[float, int, Entry]] = []
        self._count = 0
        self.untaken = deque[Untaken](maxlen=UNTAKEN_CALLS)
        """The newest of them; they are not written for the next host."""

    def add(self, entry: Entry) -> None:
        """Remember a run; one that is remembered already came to something else meanwhile."""
        self._recent.append(entry)
        if entry.troubled:
            self._troubled.append(entry)
        slowest = self._slowest
        if len(slowest) < SLOWEST_RUNS or entry.seconds > slowest[0][0]:
            self._count += 1
            heapq.heappush(slowest, (entry.seconds, self._count, entry))
            if len(slowest) > SLOWEST_RUNS:
                heapq.heappop(slowest)

    def entries(self) -> Iterator[Entry]:
        """Every run that is remembered, once: the last to end first, behind them those that are kept longer."""
        seen: set[str] = set()
        slowest = sorted(self._slowest, key=_number, reverse=True)
        for entry in chain(reversed(self._recent), reversed(self._troubled), (entry for *_, entry in slowest)):
            if entry.run_id not in seen:
                seen.add(entry.run_id)
                yield entry

    def find(self, run: str) -> Entry | None:
        """One run by its id."""
        return next((entry for entry in self.entries() if entry.run_id == run), None)

    def asked(self, run: str) -> tuple[str, str] | None:
        """The request id and the trace of a run, if it is one of those that ended last."""
        newest = islice(reversed(self._recent), RUNS_ASKED_FOR)
        return next(((entry.request_id, entry.trace) for entry in newest if entry.run_id == run), None)

    # Between two starts of a host.

    def load(self, file: Path) -> None:
        """Remember what an earlier host wrote. A line that cannot be read says nothing: it is a memory, no journal."""
        try:
            lines = file.read_bytes().split(b"\n")
        except OSError:
            return
        for line in reversed(lines):
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                found = _remembered.decode(line)
                found.line = line
                self.add(found)

    def save(self, file: Path) -> None:
        """Write what is remembered for the next host, for this user's eyes. Raises OSError."""
        fresh = file.with_name(f".{file.name}.new")
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as stream:
            for entry in self.entries():
                stream.write(msgspec.json.encode(entry.record()) + b"\n")
        fresh.replace(file)


def _number(entry: tuple[float, int, Entry]) -> int:
    return entry[1]
