"""Writes durable runs into the journal and reads them back. Which events there are, the run machine says."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import partial

from orchestrator.clock import Clock
from orchestrator.durable.entries import (
    AnsweredEntry,
    BeginEntry,
    FaultEntry,
    FinalEntry,
    FinalsEntry,
    HaltEntry,
    RevokeEntry,
    SettledEntry,
    UndoEntry,
    commands_digest,
    kind_of,
    pack,
)
from orchestrator.engine.attempt import Attempt
from orchestrator.engine.lasting import Lasting, Synced, Taken
from orchestrator.faults import StageFault
from orchestrator.journal.errors import JournalError, KeyTaken
from orchestrator.journal.journal import Journal
from orchestrator.journal.rows import EventRow, RunRow, RunStatus, RunUpdate
from pipelines.body import encode
from pipelines.run import (
    BEGIN,
    Answered,
    Close,
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

__all__ = ["JournalRecorder", "key_hash"]

log = logging.getLogger("penstock.journal")


def key_hash(key: str) -> str:
    """An idempotency key as the journal keeps it: callers put anything into it."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class JournalRecorder:
    """The journal as runs see it. `recall` reads back one that is over."""

    def __init__(self, journal: Journal, clock: Clock, recall: Callable[[str], Lasting | None]) -> None:
        self.journal = journal
        self.recall = recall
        self._clock = clock

    def note(self, run: Lasting, event: Event, commands: tuple[Command, ...], synced: Synced) -> None:
        """Write down an event and what it caused."""
        now = self._clock.wall()
        row = EventRow(run.id, run.seq, kind_of(event), _body(run, event), commands_digest(commands), now)
        run.seq += 1
        done = partial(_told, run, synced)
        try:
            if event is BEGIN:
                self.journal.begin(_row(run, now), row, done)
            else:
                self.journal.note(row, done, update=_update(run, event, commands, now))
        except JournalError as error:
            done(error)

    def awaits(self, run: Lasting, seconds: float, done: Callable[[], None] | None = None) -> None:
        """Write down until when the run's verdict must be confirmed."""
        self._mark(run.id, RunUpdate(confirm_by=self._clock.wall() + seconds, delivered=True), done)

    def park(self, run: str, why: str) -> None:
        """Leave a run to a human that cannot be taken up."""
        self._mark(run, RunUpdate(status=RunStatus.PARKED, reason=why))

    def goes_on(self, run: Lasting) -> None:
        """A run that was left to a human is one again that the next host takes up."""
        status = RunStatus.CONFIRMING if run.waits_for_caller else RunStatus.RUNNING
        self._mark(run.id, RunUpdate(status=status, reason=""))

    def _mark(self, run: str, update: RunUpdate, done: Callable[[], None] | None = None) -> None:
        told = partial(_marked, run, done)
        try:
            self.journal.mark(run, update, told)
        except JournalError as error:
            told(error)


def _marked(run: str, done: Callable[[], None] | None, error: JournalError | None) -> None:
    if error is not None:
        log.error("journal.failed", extra={"run": run, "reason": str(error)})
    if done is not None:
        done()


def _told(run: Lasting, synced: Synced, error: JournalError | None) -> None:
    if error is None:
        synced(None)
    elif isinstance(error, KeyTaken):
        synced(Taken(error.existing.id, error.existing.key_digest == _call_digest(run)))
    else:
        log.error("journal.failed", extra={"run": run.id, "reason": str(error)})
        synced(StageFault("JournalError", "penstock.journal", f"{error} ({error.hint})", sent=False, final=True))


def _call_digest(run: Lasting) -> str:
    """What makes two calls the same; whoever tries again may well give the new request an id of its own."""
    digest = hashlib.sha256(run.seen.raw)
    digest.update(b"\0" + encode({**run.context.tree, "request_id": ""}))
    return digest.hexdigest()


def _row(run: Lasting, now: float) -> RunRow:
    budget = (run.deadline - run.started) * 1000
    return RunRow(
        id=run.id,
        pipeline=run.route.plan.name,
        hook=run.route.plan.hook.name,
        plan=run.route.origin,
        key=None if run.key is None else key_hash(run.key),
        key_digest=None if run.key is None else _call_digest(run),
        status=RunStatus.RUNNING,
        verdict=None,
        reason="",
        started_at=now,
        ended_at=None,
        confirm_by=None,
        delivered=False,
        body=pack(BeginEntry(run.seen.raw, run.context.raw, budget, run.trace)),
    )


def _update(run: Lasting, event: Event, commands: tuple[Command, ...], now: float) -> RunUpdate | None:
    if any(isinstance(command, Close) for command in commands):
        return RunUpdate(
            status=RunStatus(run.status),
            verdict=run.verdict,
            reason=run.reason,
            ended_at=now,
            delivered=run.answered_with is not None,
        )
    if isinstance(event, Answered):
        status = RunStatus.CONFIRMING if run.waits_for_caller else RunStatus.RUNNING
        return RunUpdate(status=status, verdict=run.verdict, reason=run.reason)
    if isinstance(event, Revoke | Resume):
        return RunUpdate(status=RunStatus.RUNNING, reason=run.reason, ended_at=None)
    return RunUpdate(status=RunStatus.RUNNING, delivered=True) if isinstance(event, Confirmed) else None


def _body(run: Lasting, event: Event) -> bytes:
    match event:
        case Settled(stage):
            attempt = run.attempts[stage]
            assert attempt is not None
            return pack(_settled(run, attempt))
        case Halt():
            return pack(HaltEntry(FaultEntry.of(run.fault)))
        case Answered(denied, awaits):
            return pack(AnsweredEntry(denied, awaits, _spent(run), FaultEntry.of(run.fault)))
        case Revoke():
            return pack(RevokeEntry(run.revoked_for))
        case Undone(stage) | Parked(stage):
            return pack(_undo(run, stage))
        case FinalsEnded():
            records = run.finally_.records
            return pack(
                FinalsEntry(tuple(FinalEntry(r.id, r.state.value, r.tried, FaultEntry.of(r.fault)) for r in records))
            )
        case _:
            return b""


def _spent(run: Lasting) -> float:
    return max(0.0, run.clock.now() - run.started) * 1000


def _settled(run: Lasting, attempt: Attempt) -> SettledEntry:
    plan = attempt.wire.plan
    variant = next(place for place, one in enumerate(plan.variants) if one is attempt.variant)
    answered = attempt.fault is None and attempt.why in (None, "violation")
    return SettledEntry(
        plan.index,
        attempt.state.value,
        attempt.effect.value,
        attempt.why,
        variant,
        attempt.tried,
        (attempt.current or attempt).worker,
        _spent(run),
        (attempt.said or b"null") if answered else None,
        FaultEntry.of(attempt.fault),
        plan.id,
    )


def _undo(run: Lasting, stage: int) -> UndoEntry:
    attempt = run.attempts[stage]
    record = attempt.undo if attempt is not None else None
    if record is None:
        return UndoEntry(stage, id=run.route.plan.stages[stage].id)
    fault = FaultEntry.of(record.fault)
    return UndoEntry(stage, record.tried, record.input, fault, run.route.plan.stages[stage].id)
