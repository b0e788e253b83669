"""What is known of runs, those of the journal and those of the ring, as records for people and programs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from orchestrator.clock import Clock
from orchestrator.entries import BeginEntry, told, unpack
from orchestrator.journal.errors import Unreadable
from orchestrator.journal.journal import Journal
from orchestrator.journal.rows import EventRow, RunRow
from orchestrator.lasting import Lasting
from orchestrator.records import record_of
from orchestrator.replay import ReplayDiffers, replay
from orchestrator.ring import Ring
from orchestrator.wiring import Route

__all__ = ["RunHistory", "Wanted"]

JOURNAL_RUNS = 10_000
"""How far back the journal is listed."""


class Wanted(msgspec.Struct, frozen=True):
    """Which runs to list: the newest `limit` of those that fit."""

    limit: int = 20
    status: str | None = None
    verdict: str | None = None
    pipeline: str | None = None

    def fits(self, record: Mapping[str, object]) -> bool:
        """Whether a record is asked for."""
        asked = {"status": self.status, "verdict": self.verdict, "pipeline": self.pipeline}
        return all(value is None or record.get(name) == value for name, value in asked.items())


class Routes(Protocol):
    """Where the route of a journaled run comes from."""

    def __call__(self, row: RunRow) -> Route | None:
        """The route, None where its plan is not to be had."""


class RunHistory:
    """The newest first. Where a run is in the journal and in the ring, the journal knows better how it stands."""

    def __init__(self, ring: Ring, journal: Journal | None, routes: Routes, clock: Clock) -> None:
        self._ring = ring
        self._journal = journal
        self._routes = routes
        self._clock = clock

    def listed(self, wanted: Wanted) -> list[dict[str, object]]:
        """Summaries. Raises JournalError."""
        records = sorted(self._all(), key=_began, reverse=True)
        return list(itertools.islice(filter(wanted.fits, records), wanted.limit))

    def _all(self) -> Iterator[dict[str, object]]:
        remembered = {str(record["run_id"]): dict(record) for record in self._ring.records()}
        for row in self._journal.runs(limit=JOURNAL_RUNS) if self._journal is not None else ():
            if isinstance(row, Unreadable):
                yield {"run_id": row.run, "status": "unreadable", "reason": row.reason}
            else:
                yield {**_of_row(row), **remembered.pop(row.id, {}), **_standing(row)}
        yield from remembered.values()

    def find(self, run: str) -> str | None:
        """The whole id of a run that is named by the end of its id; None where none or several have it."""
        ids = {str(record["run_id"]) for record in self._all()}
        if run in ids:
            return run
        found = [id for id in ids if id.endswith(run.upper())]
        return found[0] if len(found) == 1 else None

    def shown(self, run: str) -> dict[str, object] | None:
        """Everything that is known of one run; of a durable one its payloads too. Raises JournalError."""
        row = self._journal.run(run) if self._journal is not None else None
        if row is None:
            found = self._ring.find(run)
            return None if found is None else dict(found)
        assert self._journal is not None
        events = self._journal.events(run)
        record = {**_of_row(row), **self._replayed(row, events), **_standing(row)}
        plain = "unread" in record
        record["events"] = [_event(event, whole=plain) for event in events]
        if plain:
            begin = unpack(BeginEntry, row.body)
            record["payload"] = msgspec.json.decode(begin.payload)
        return record

    def _replayed(self, row: RunRow, events: Sequence[EventRow]) -> dict[str, object]:
        route = self._routes(row)
        if route is None:
            return {"unread": "its plan is not to be had; its events say what happened"}
        try:
            return record_of(replay(row, events, route, self._clock, None, _unheard))
        except ReplayDiffers as error:
            return {"unread": str(error)}


def _event(event: EventRow, *, whole: bool) -> dict[str, object]:
    """One event; the whole of it where nobody can follow it."""
    shown: dict[str, object] = {"seq": event.seq, "kind": event.kind, "at": round(event.at, 3)}
    if whole:
        try:
            shown["told"] = told(event.kind, event.body)
        except msgspec.DecodeError as error:
            shown["told"] = {"unread": str(error)}
    return shown


def _unheard(run: Lasting) -> None:
    """Stand in for `closed`."""


def _began(record: Mapping[str, object]) -> float:
    began = record.get("began")
    return float(began) if isinstance(began, int | float) else 0.0


def _of_row(row: RunRow) -> dict[str, object]:
    ended = None if row.ended_at is None else round((row.ended_at - row.started_at) * 1000, 3)
    return {
        "run_id": row.id,
        "pipeline": row.pipeline,
        "hook": row.hook,
        "verdict": row.verdict,
        "durable": True,
        "began": round(row.started_at, 3),
        "duration_ms": ended,
        "violation": None,
        "error": None,
        "stages": {},
        "finally": {},
    }


def _standing(row: RunRow) -> dict[str, object]:
    return {"status": row.status.value, "verdict": row.verdict, "reason": row.reason}
