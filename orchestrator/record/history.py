"""What is known of runs, those of the journal, of the ring and under way, as records for people and programs.

What blocks for the disk or takes long is done in a thread, so that a host goes on while somebody looks.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from orchestrator.clock import Clock
from orchestrator.durable.entries import BeginEntry, UndoEntry, told, unpack
from orchestrator.durable.replay import ReplayDiffers, replay
from orchestrator.engine.lasting import Lasting
from orchestrator.engine.wiring import Route
from orchestrator.journal.errors import JournalError, Unreadable
from orchestrator.journal.journal import Journal
from orchestrator.journal.rows import EventRow, RunRow, RunSketch
from orchestrator.record.records import record_of
from orchestrator.record.ring import Entry, Ring
from orchestrator.record.summary import Summary
from pipelines.suggest import distance

__all__ = ["NoSuchRun", "RunHistory", "SeveralRuns", "Wanted"]

MAX_LISTED = 10_000

UNREADABLE = "unreadable"
"""The status of a journaled run whose row is damaged."""

SHOWN_CANDIDATES = 4
NEAR_RUNS = 200
"""Among how many of the newest runs a mistyped id is looked for."""
SLIPS = 2
"""Ids of one hour differ in few characters, so more slips would fit any of them."""

Record = dict[str, object]


class NoSuchRun(LookupError):
    """No run has this id."""

    code = "penstock.unknown_run"
    hint = "`penstock runs list` shows the runs that are known"


class SeveralRuns(LookupError):
    """More than one run has an id that ends so."""

    code = "penstock.ambiguous_run"
    hint = "write more of the id, or all of it"


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which runs to list: the newest `limit` of those that fit."""

    limit: int = 20
    status: Literal["running", "confirming", "completed", "undone", "parked", "unreadable"] | None = None
    verdict: Literal["allow", "modify", "deny"] | None = None
    pipeline: str | None = None

    def fits(self, entry: Entry) -> bool:
        """Whether an entry is asked for."""
        return (
            self.status in (None, entry.status)
            and self.verdict in (None, entry.verdict)
            and self.pipeline in (None, entry.pipeline)
        )


class Routes(Protocol):
    """Where the route of a journaled run comes from."""

    def __call__(self, row: RunRow) -> Route | None:
        """The route, None where its plan is not to be had."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """A run that may be listed: as it stands in the journal, as the ring has it, or both."""

    began: float
    id: str
    sketch: RunSketch | None
    entry: Entry | None

    def __lt__(self, other: _Listed) -> bool:
        return (self.began, self.id) > (other.began, other.id)


class RunHistory:
    """The newest first. Where a run is in the journal and in the ring, the journal knows better how it stands.

    `open` are the runs that are not over. All methods are for the event loop's thread.
    """

    def __init__(
        self, ring: Ring, journal: Journal | None, routes: Routes, clock: Clock, open: Mapping[str, Lasting]
    ) -> None:
        self._ring = ring
        self._journal = journal
        self._routes = routes
        self._clock = clock
        self._open = open

    # The list.

    async def listed(self, wanted: Wanted) -> list[Record]:
        """Summaries. Raises JournalError."""
        limit = max(1, min(wanted.limit, MAX_LISTED))
        remembered = {entry.run_id: entry for entry in self._ring.entries()}
        remembered |= {run.id: Summary.of(run) for run in self._open.values()}
        if self._journal is None:
            fitting = sorted(_Listed(one.began, id, None, one) for id, one in remembered.items() if wanted.fits(one))
            return [_listed(one) for one in fitting[:limit]]
        return await asyncio.to_thread(self._joined, self._journal, remembered, wanted, limit)

    def _joined(self, journal: Journal, remembered: Mapping[str, Entry], wanted: Wanted, limit: int) -> list[Record]:
        if wanted.status == UNREADABLE:
            rows = journal.runs(limit=MAX_LISTED)
            return [_unreadable(row) for row in rows if isinstance(row, Unreadable)][:limit]
        sketches = journal.sketches(status=wanted.status, verdict=wanted.verdict, pipeline=wanted.pipeline, limit=limit)
        journaled = [_Listed(one.started_at, one.id, one, remembered.get(one.id)) for one in sketches]
        found: list[Record] = []
        for one in heapq.merge(sorted(journaled), self._others(journal, journaled, remembered, wanted)):
            found.append(self._checked(journal, one))
            if len(found) == limit:
                break
        return found

    def _others(
        self, journal: Journal, journaled: Sequence[_Listed], remembered: Mapping[str, Entry], wanted: Wanted
    ) -> Iterator[_Listed]:
        """What fits of the ring and is not in the journal. What is there and not among `journaled` does not fit."""
        known = {one.id for one in journaled}
        fitting = (one for one in remembered.values() if one.run_id not in known and wanted.fits(one))
        for one in sorted(_Listed(entry.began, entry.run_id, None, entry) for entry in fitting):
            assert one.entry is not None
            if not one.entry.durable or journal.sketch(one.id) is None:
                yield one

    def _checked(self, journal: Journal, one: _Listed) -> Record:
        """The record of a run, after a look at whether the journal can read it: only those that are listed are."""
        if one.sketch is not None:
            try:
                journal.run(one.id)
            except Unreadable as error:
                return _unreadable(error)
        return _listed(one)

    # One run.

    async def find(self, text: str) -> str:
        """The whole id of a run that is named by the end of its id. Raises NoSuchRun, SeveralRuns and JournalError."""
        tail = text.upper()
        ids = {entry.run_id for entry in self._ring.entries()} | self._open.keys()
        found = {id for id in ids if id.endswith(tail)}
        if self._journal is not None:
            found |= set(await asyncio.to_thread(self._journal.ending, tail))
        if tail in found:
            return tail
        if not found:
            raise NoSuchRun(f"no run has the id {text!r}, or one that ends so{await self._meant(tail)}")
        if len(found) > 1:
            newest = sorted(found, reverse=True)
            shown = ", ".join(newest[:SHOWN_CANDIDATES]) + (", ..." if len(newest) > SHOWN_CANDIDATES else "")
            raise SeveralRuns(f"{len(found)} runs have an id that ends in {text!r}: {shown}")
        return found.pop()

    async def _meant(self, text: str) -> str:
        near = [str(record["run_id"]) for record in await self.listed(Wanted(limit=NEAR_RUNS))]
        slips = [(distance(text, id[-len(text) :]), id) for id in near] if len(text) > SLIPS * 2 else []
        best = min(slips, key=lambda pair: pair[0], default=None)
        return f"; did you mean {best[1]}?" if best is not None and best[0] <= SLIPS else ""

    async def shown(self, run: str) -> Record:
        """Everything that is known of one run; of a durable one its payloads too. Raises NoSuchRun and JournalError."""
        under_way, entry = self._open.get(run), self._ring.find(run)
        record = None if under_way is None else record_of(under_way)
        if self._journal is not None:
            record = await asyncio.to_thread(self._journaled, self._journal, run, record, entry) or record
        if record is None and entry is not None:
            record = entry.record()
        if record is None:
            raise NoSuchRun(f"nothing is known of run {run}")
        return record

    def _journaled(self, journal: Journal, run: str, live: Record | None, entry: Entry | None) -> Record | None:
        sketch = journal.sketch(run)
        if sketch is None:
            return None
        remembered = {} if entry is None else entry.record()
        try:
            row = journal.run(run)
            events = journal.events(run)
        except Unreadable as error:
            return {**_of_sketch(sketch), **remembered, **_unreadable(error), "unread": str(error)}
        if row is None:
            return None
        record = {**_of_sketch(sketch), **remembered}
        if live is not None:
            record |= live  # what it does now may not be on the disk yet
        else:
            record |= {**self._replayed(row, events), **_standing(sketch)}
            _time_stages(record, remembered)
        record["events"] = [_event(event, whole="unread" in record) for event in events]
        return record

    def _replayed(self, row: RunRow, events: Sequence[EventRow]) -> Record:
        try:
            route = self._routes(row)
            if route is not None:
                return record_of(replay(row, events, route, self._clock, None, _unheard))
            why = "its plan is not to be had"
        except (ReplayDiffers, JournalError) as error:
            why = str(error)
        return {"unread": f"{why}; this is what can be told without its plan", **_told_without_plan(row, events)}


def _told_without_plan(row: RunRow, events: Sequence[EventRow]) -> Record:
    """What a human needs to finish a run by hand: its payload, and what each undo was sent, by the stage's number."""
    try:
        undos = [unpack(UndoEntry, event.body) for event in events if event.kind in ("undone", "parked")]
        payload = msgspec.json.decode(unpack(BeginEntry, row.body).payload)
    except msgspec.DecodeError:
        return {}
    sent = [
        {"number": undo.stage, "attempts": undo.tried, "input": msgspec.json.decode(undo.input)}
        for undo in undos
        if undo.input is not None
    ]
    return {"payload": payload, "undos": sent}


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


def _time_stages(record: Record, remembered: Record) -> None:
    """A replay knows when a run's verdict fell, and not how long each stage took; the ring may."""
    stages, known = record.get("stages"), remembered.get("stages")
    if isinstance(stages, dict) and isinstance(known, dict):
        for id, stage in stages.items():
            timed = known.get(id)
            if isinstance(timed, dict):
                stage.update({name: timed[name] for name in ("duration_ms", "queued_ms") if name in timed})


def _listed(one: _Listed) -> Record:
    remembered = {} if one.entry is None else one.entry.record()
    if one.sketch is None:
        return remembered
    return {**_of_sketch(one.sketch), **remembered, **_standing(one.sketch)}


def _unreadable(error: Unreadable) -> Record:
    return {"run_id": error.run, "status": UNREADABLE, "reason": error.reason, "durable": True}


def _of_sketch(sketch: RunSketch) -> Record:
    return {
        "run_id": sketch.id,
        "pipeline": sketch.pipeline,
        "hook": sketch.hook,
        "verdict": sketch.verdict,
        "status": sketch.status,
        "reason": sketch.reason,
        "durable": True,
        "began": round(sketch.started_at, 3),
        "request_id": "",
        "trace": "",
        "revision": 0,
        "violation": None,
        "error": None,
        "duration_ms": None,
        "stages": {},
        "finally": {},
    }


def _standing(sketch: RunSketch) -> Record:
    return {"status": sketch.status, "verdict": sketch.verdict, "reason": sketch.reason}
