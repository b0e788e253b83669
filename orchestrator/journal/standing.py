"""Where a run stands, and whether what is submitted fits a row: judged before anything is written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

from orchestrator.journal.errors import EntryRefused
from orchestrator.journal.rows import KEEP, EventRow, RunRow, RunStatus, RunUpdate

__all__ = ["CHANGING", "Standing", "check_event", "check_run", "check_texts", "check_update", "require"]

CHANGING = tuple(column.name for column in fields(RunUpdate))
"""The columns of a run that change, in the order of RunUpdate."""


@dataclass(slots=True)
class Standing:
    """Where a run stands when everything judged so far is written.

    `number` is the one of its row, `seq` that of its last event.
    """

    number: int
    seq: int
    status: RunStatus
    verdict: str | None
    reason: str
    ended_at: float | None
    confirm_by: float | None
    delivered: bool

    @classmethod
    def begun(cls, number: int, run: RunRow, seq: int) -> Standing:
        """That of a run which begins."""
        return cls(number, seq, run.status, run.verdict, run.reason, run.ended_at, run.confirm_by, run.delivered)

    def change(self, update: RunUpdate) -> None:
        """Take over what the update names."""
        for name in CHANGING:
            value = getattr(update, name)
            if value is not KEEP:
                setattr(self, name, value)

    def columns(self) -> tuple[object, ...]:
        """In the order of CHANGING."""
        return self.status.value, self.verdict, self.reason, self.ended_at, self.confirm_by, int(self.delivered)


def require(condition: bool, otherwise: str) -> None:
    """Raise EntryRefused unless the condition holds."""
    if not condition:
        raise EntryRefused(otherwise)


def check_run(run: RunRow, first: EventRow) -> None:
    """Refuse what no row can hold."""
    require(first.run == run.id, f"the first event of run {run.id} is another run's")
    require(0 <= first.seq < 2**53, f"run {run.id} cannot begin with event {first.seq}")
    check_texts(run.id, run.pipeline, run.hook, run.plan, run.key, run.key_digest, run.verdict, run.reason)
    _check_times((run.started_at, run.ended_at, run.confirm_by))
    check_event(first)


def check_event(event: EventRow) -> None:
    """Refuse what no row can hold."""
    try:
        event.kind.encode()
    except UnicodeEncodeError:
        raise EntryRefused("a text holds a lone surrogate") from None
    require(math.isfinite(event.at), "a time is not finite")


def check_update(update: RunUpdate) -> None:
    """Refuse what no row can hold."""
    check_texts(*(text for text in (update.verdict, update.reason) if text is not KEEP))
    _check_times(time for time in (update.ended_at, update.confirm_by) if time is not KEEP)


def check_texts(*texts: str | None) -> None:
    """Refuse what cannot be written as UTF-8."""
    try:
        "".join(text for text in texts if text is not None).encode()
    except UnicodeEncodeError:
        raise EntryRefused("a text holds a lone surrogate") from None


def _check_times(times: Iterable[float | None]) -> None:
    if not all(time is None or math.isfinite(time) for time in times):
        raise EntryRefused("a time is not finite")
