"""Stages whose mode is overridden for a while, by command: laid over what serves, kept over restarts, ended in time.

An override is a change like any other: linted, noted, and in every run that it affects. What it was laid over is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

import msgspec

from orchestrator.clock import Alarm, Clock
from orchestrator.events import ChangeApplied, Event, OverrideEnded, OverrideSet
from orchestrator.revisions.following import Applied
from orchestrator.revisions.history import write_whole
from orchestrator.revisions.refusal import ChangeNotMade
from orchestrator.revisions.revisions import Revisions
from pipelines.file.overriding import Override
from pipelines.plan import Mode, Plan

__all__ = ["OVERRIDE", "Overrides"]

log = logging.getLogger("penstock.revisions")

START = "start"
"""Who ended an override whose stage was gone when the host started."""

OVERRIDE = "override"
"""Who wanted the change when an override ended because its time was up."""

RETRY_SECONDS = 10.0
"""After which the end of an override is tried again that something refused."""


class _Kept(msgspec.Struct, frozen=True):
    stage: str
    mode: Mode
    until: float
    reason: str
    by: str


class Overrides:
    """`file` is where they are kept; in memory alone where that is None. As an async context manager it ends them."""

    def __init__(self, file: Path | None, revisions: Revisions, clock: Clock, publish: Callable[[Event], None]) -> None:
        self._file = file
        self._revisions = revisions
        self._clock = clock
        self._publish = publish
        self._alarm: Alarm | None = None
        self._turn = asyncio.Lock()
        self._owner = asyncio.TaskGroup()
        self._due = asyncio.Event()

    @property
    def in_force(self) -> tuple[Override, ...]:
        """What is laid over the file now."""
        return self._revisions.candidates.overrides

    def load(self) -> None:
        """Lay what an earlier host kept over the file, before anything starts.

        Raises ChangeNotMade if it is unreadable: what somebody overrode must not change without a word.
        """
        if self._file is None:
            return
        try:
            kept = msgspec.json.decode(self._file.read_bytes(), type=list[_Kept])
            found = tuple(Override(one.stage, one.mode, one.until, one.reason, one.by) for one in kept)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            said = f"{self._file}: the overrides cannot be read: {reason}"
            hint = "remove the file to start without overrides, then set them again"
            raise ChangeNotMade("penstock.overrides", said, where=str(self._file), hint=hint) from error
        now = self._clock.wall()
        self._revisions.candidates.overrides = tuple(one for one in found if one.until > now)

    async def __aenter__(self) -> Overrides:
        await self._owner.__aenter__()
        self._watch = self._owner.create_task(self._end_in_time())
        self._settle(START)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
        await self._owner.__aexit__(kind, error, trace)

    async def _end_in_time(self) -> None:
        """End each override when its time is up."""
        pause_seconds = 0.0
        while True:
            self._due.clear()
            self._wind(pause_seconds)
            await self._due.wait()
            over = [one for one in self.in_force if one.until <= self._clock.wall()]
            pause_seconds = 0.0 if await self._end(over) else RETRY_SECONDS

    def _wind(self, pause_seconds: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        if self.in_force:
            left_seconds = min(one.until for one in self.in_force) - self._clock.wall()
            self._alarm = self._clock.later(max(pause_seconds, left_seconds), self._due.set)

    async def _end(self, over: Iterable[Override]) -> bool:
        try:
            for one in over:
                await self.clear(one.stage, OVERRIDE)
        except ChangeNotMade as error:
            log.error("override.not_ended", extra={"reason": str(error)})
            return False
        return True

    def hear(self, event: Event) -> None:
        """Take note when a change came without a stage that was overridden."""
        if isinstance(event, ChangeApplied) and self._revisions.trial is None and not self._turn.locked():
            self._settle(event.by)

    def _settle(self, by: str) -> None:
        candidates, laid = self._revisions.candidates, self._revisions.current.loaded.archive.overrides
        gone = [one for one in candidates.overrides if one not in laid]
        candidates.overrides = laid
        for one in gone:
            self._publish(OverrideEnded(one.stage, by))
            log.warning("override.without_stage", extra={"stage": one.stage, "by": by})
        if gone:
            self._owner.create_task(self._keep())

    async def set(self, stage: str, mode: Mode, seconds: float, reason: str, by: str) -> Applied:
        """Override the mode of a stage for so long. Raises ChangeNotMade, and what serves is as it was."""
        whole = self._whole(stage)
        override = Override(whole, mode, self._clock.wall() + seconds, reason, by)
        async with self._turn:
            others = tuple(one for one in self.in_force if one.stage != whole)
            applied = await self._lay((*others, override), by, f"{whole} is {mode.value} for {seconds:g} s: {reason}")
        self._publish(OverrideSet(whole, mode.value, override.until, reason, by))
        log.warning("override.set", extra={"stage": whole, "mode": mode.value, "by": by, "reason": reason})
        self._due.set()
        return applied

    async def clear(self, stage: str, by: str) -> Applied:
        """Let a stage be as its file says again. Raises ChangeNotMade where it is not overridden."""
        async with self._turn:
            whole = self._whole(stage)
            left = tuple(one for one in self.in_force if one.stage != whole)
            if len(left) == len(self.in_force):
                known = ", ".join(one.stage for one in self.in_force) or "none"
                raise ChangeNotMade("penstock.not_overridden", f"{whole} is not overridden; in force: {known}")
            applied = await self._lay(left, by, f"{whole} is as its file says again")
        self._publish(OverrideEnded(whole, by))
        log.warning("override.ended", extra={"stage": whole, "by": by})
        return applied

    async def _lay(self, overrides: tuple[Override, ...], by: str, reason: str) -> Applied:
        candidates, before = self._revisions.candidates, self.in_force
        candidates.overrides = overrides
        try:
            applied = await self._revisions.again(by, reason)
        except BaseException:
            candidates.overrides = before
            raise
        await self._keep()
        return applied

    async def _keep(self) -> None:
        try:
            await asyncio.to_thread(self._write)
        except OSError as error:
            # It holds, and a restart would forget it: worth a word, and no reason to take it back at three at night.
            log.error("override.not_kept", extra={"reason": error.strerror or str(error)})

    def _write(self) -> None:
        if self._file is None:
            return
        kept = [_Kept(one.stage, one.mode, one.until, one.reason, one.by) for one in self.in_force]
        if kept:
            write_whole(self._file, msgspec.json.encode(kept))
        else:
            with contextlib.suppress(FileNotFoundError):
                self._file.unlink()

    def _whole(self, stage: str) -> str:
        """PIPELINE/STAGE where one pipeline alone has the stage; else as it is written, for lint to judge."""
        if "/" in stage:
            return stage
        places = _places(self._revisions.current.loaded.plan, stage)
        return places[0] if len(places) == 1 else stage

    def record(self) -> list[dict[str, object]]:
        """The JSON of `status`."""
        return [
            {
                "stage": one.stage,
                "mode": one.mode.value,
                "until": one.until,
                "seconds_left": round(max(0.0, one.until - self._clock.wall()), 1),
                "reason": one.reason,
                "by": one.by,
            }
            for one in self.in_force
        ]


def _places(plan: Plan, stage: str) -> list[str]:
    found = {
        f"{pipeline.name}/{one.id}"
        for chain in plan.routes.values()
        for pipeline in chain
        for one in pipeline.stages
        if one.id == stage
    }
    return sorted(found)
