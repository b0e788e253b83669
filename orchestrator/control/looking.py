"""The commands and streams with which an operator looks at a host: how it stands, its figures, its logs, its stages,
and why a run came out as it did. They change nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import msgspec

from orchestrator.control.refusal import Actor, Answer, Refused
from orchestrator.events import StageTapped
from orchestrator.lookout.feed import MISSED, Missed
from orchestrator.lookout.logbook import HOST, LEVELS, WantedLines
from orchestrator.lookout.meter import Meter
from orchestrator.lookout.standing import standing
from orchestrator.lookout.taps import Tap
from orchestrator.lookout.why import ChangesBetween, Record, decisive, differences, explained, no_changes_known
from orchestrator.record.history import NoSuchRun, RunHistory, SeveralRuns
from orchestrator.record.ring import Entry
from orchestrator.record.summary import Summary
from pipelines.plan import StagePlan
from pipelines.suggest import nearest

if TYPE_CHECKING:
    from orchestrator.orchestrator import Orchestrator

__all__ = ["Looking", "Stream", "meant"]

log = logging.getLogger("penstock.control")

Command = tuple[type[msgspec.Struct], Callable[..., Awaitable[Answer]]]
Stream = tuple[type[msgspec.Struct], Callable[..., AsyncGenerator[dict[str, object], None]]]

MAX_LINES = 10_000
SHOWN_CANDIDATES = 4


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No parameters."""


class Lines(msgspec.Struct, forbid_unknown_fields=True):
    """Which log lines: the newest `lines` of those that fit, and with `follow` those that come. `run` may be the end of
    an id, `stage` that of a pipeline or a plugin's own.
    """

    plugin: str | None = None
    stage: str | None = None
    run: str | None = None
    level: str = "debug"
    lines: Annotated[int, msgspec.Meta(ge=0, le=MAX_LINES)] = 200
    follow: bool = False


class Tapped(msgspec.Struct, forbid_unknown_fields=True):
    """Which stage to look at, in which pipeline, and how often."""

    stage: str
    pipeline: str | None = None
    values: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Often(msgspec.Struct, forbid_unknown_fields=True):
    """How often figures are told."""

    interval_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=60.0)] = 1.0


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """A run, or a request, by its id."""

    id: str


class Looking:
    """Its tables are part of a host's. `changes_between` says what differs between two revisions."""

    def __init__(
        self, orchestrator: Orchestrator, history: RunHistory, changes_between: ChangesBetween = no_changes_known
    ) -> None:
        self._changes_between = changes_between
        self._orchestrator = orchestrator
        self._history = history
        self.commands: dict[str, Command] = {"status": (_Nothing, self._status), "why": (Asked, self._why)}
        self.streams: dict[str, Stream] = {
            "logs": (Lines, self._logs),
            "tap": (Tapped, self._tap),
            "top": (Often, self._top),
        }

    async def _status(self, _: _Nothing, by: Actor) -> Answer:
        return await standing(self._orchestrator)

    async def _top(self, often: Often, by: Actor) -> AsyncGenerator[dict[str, object], None]:
        with self._orchestrator.lookout.meters.reading(Meter(self._orchestrator)) as meter:
            async for figures in meter.read(often.interval_seconds):
                yield figures

    # Logs.

    async def _logs(self, asked: Lines, by: Actor) -> AsyncGenerator[dict[str, object], None]:
        wanted = self._wanted(asked)
        requests = _Requests(self._orchestrator)
        with self._orchestrator.lookout.logbook.joined(wanted) as feed:
            last = 0
            for entry in self._orchestrator.lookout.logbook.newest(wanted, asked.lines):
                last = entry.number
                yield entry.as_json(requests.of(entry.run))
            if not asked.follow:
                return
            async for found in feed.read():
                if isinstance(found, Missed):
                    yield found.as_json()
                elif found.number > last:
                    yield found.as_json(requests.of(found.run))

    def _wanted(self, asked: Lines) -> WantedLines:
        known = [HOST, *self._orchestrator.generations]
        if asked.plugin is not None and asked.plugin not in known:
            raise Refused(
                "penstock.unknown_plugin", f"the file has no plugin {asked.plugin!r}{meant(asked.plugin, known)}"
            )
        if asked.level.lower() not in LEVELS:
            raise Refused(
                "penstock.bad_command", f"logs: there is no level {asked.level!r}; there are {', '.join(LEVELS)}"
            )
        level = logging.getLevelNamesMapping()[asked.level.upper()]
        run = None if asked.run is None else asked.run.upper()
        return WantedLines(asked.plugin, run, level, None if asked.stage is None else self._said_by(asked.stage))

    def _said_by(self, name: str) -> frozenset[tuple[str, str]]:
        """The stages of plugins that a name stands for: what a log line names is the plugin's own stage."""
        plans = list(self._stages())
        own = {(plan.plugin, plan.stage) for _, plan in plans if plan.stage == name}
        found = own | {(plan.plugin, plan.stage) for _, plan in plans if plan.id == name}
        if not found:
            raise _unknown_stage(name, (word for _, plan in plans for word in (plan.id, plan.stage)))
        return frozenset(found)

    def _stages(self) -> Iterable[tuple[str, StagePlan]]:
        for pipelines in self._orchestrator.loaded.plan.routes.values():
            for pipeline in pipelines:
                for stage in (*pipeline.stages, *pipeline.finals):
                    yield pipeline.name, stage

    # Taps.

    async def _tap(self, asked: Tapped, by: Actor) -> AsyncGenerator[dict[str, object], None]:
        self._must_be_stage(asked.stage, asked.pipeline)
        self._tell_of(asked, by)
        left = asked.limit
        with self._orchestrator.lookout.taps.opened(Tap(asked.stage, asked.pipeline, values=asked.values)) as tap:
            async for seen in tap.read():
                yield seen
                if left is not None and seen.get("type") != MISSED:
                    left -= 1
                    if not left:
                        return

    def _must_be_stage(self, stage: str, pipeline: str | None) -> None:
        plans = list(self._orchestrator.loaded.plan.routes.values())
        pipelines = [one for chain in plans for one in chain]
        if pipeline is not None and pipeline not in {one.name for one in pipelines}:
            names = [one.name for one in pipelines]
            raise Refused("penstock.unknown_pipeline", f"the file has no pipeline {pipeline!r}{meant(pipeline, names)}")
        ids = [plan.id for one in pipelines if pipeline in (None, one.name) for plan in one.stages]
        if stage not in ids:
            raise _unknown_stage(stage, ids)

    def _tell_of(self, asked: Tapped, by: str) -> None:
        """Whoever sees values is told of: payloads may hold what nobody should read."""
        fields = {"tapped": asked.stage, "by": by, "pipeline": asked.pipeline or "", "values": asked.values}
        log.log(logging.WARNING if asked.values else logging.INFO, "stage.tapped", extra=fields)
        self._orchestrator.events.publish(StageTapped(asked.stage, asked.pipeline, by, asked.values))

    # Why.

    async def _why(self, asked: Asked, by: Actor) -> Answer:
        remembered: list[Entry] = [Summary(run) for run in self._orchestrator.engine.open.values()]
        remembered += self._orchestrator.ring.entries()
        ids = [entry.run_id for entry in remembered if asked.id and entry.request_id == asked.id]
        if not ids:
            try:
                ids = [await self._history.find(asked.id)]
            except NoSuchRun as error:
                ids = self._of_request(asked.id, remembered)
                if not ids:
                    return self._untaken(asked.id, error)
        records = {id: await self._history.shown(id) for id in ids[:MAX_SHOWN_RUNS]}
        decided = next((one for one in records.values() if one.get("verdict") == "deny"), next(iter(records.values())))
        others = [one for one in records.values() if one is not decided]
        stage = decisive(decided)
        # What an earlier host wrote is decoded for this, thousands of runs in the worst case.
        before = None if stage is None else await asyncio.to_thread(_last_allowed, remembered, decided, stage)
        return self._answer(decided, stage, before, others)

    def _of_request(self, text: str, remembered: Sequence[Entry]) -> list[str]:
        """The runs of the one request whose id ends so. Raises SeveralRuns."""
        found = {entry.request_id for entry in remembered if text and entry.request_id.endswith(text)}
        if len(found) > 1:
            shown = ", ".join(sorted(found)[:SHOWN_CANDIDATES]) + (", ..." if len(found) > SHOWN_CANDIDATES else "")
            raise SeveralRuns(f"{len(found)} requests have an id that ends in {text!r}: {shown}")
        return [entry.run_id for entry in remembered if entry.request_id in found]

    def _untaken(self, text: str, error: NoSuchRun) -> Answer:
        """A call that no pipeline took leaves no run. Raises `error` where there was none either."""
        for call in reversed(self._orchestrator.ring.untaken):
            if text and call.request_id.endswith(text):
                why = "unmatched" if call.code in (None, "penstock.unmatched") else "refused"
                return {
                    "run_id": None, "request_id": call.request_id, "pipeline": None, "hook": call.hook,
                    "verdict": call.verdict, "began": round(call.at, 3), "stage": None, "why": why,
                    "code": call.code, "reason": call.reason, "notes": [], "others": [],
                    "last_allowed": None, "changed": [],
                }  # fmt: skip
        raise error

    def _answer(self, run: Record, stage: str | None, before: Record | None, others: Sequence[Record]) -> Answer:
        answer = explained(run)
        answer["others"] = [
            {name: other.get(name) for name in ("run_id", "pipeline", "hook", "verdict", "status", "began")}
            for other in others
        ]
        answer["last_allowed"] = None if before is None else _brief(before, stage)
        answer["changed"] = (
            [] if before is None or stage is None else differences(before, run, stage, self._changes_between)
        )
        if answer["why"] == "breaker":
            answer["breaker"] = self._breaker(run, stage)
        return answer

    def _breaker(self, run: Record, stage: str | None) -> dict[str, object] | None:
        """How the breaker stands now that refused then."""
        plans = {plan.id: plan for name, plan in self._stages() if name == run.get("pipeline")}
        plan = plans.get(stage or "")
        found = () if plan is None else self._orchestrator.breakers.find(f"{plan.plugin}/{plan.stage}")
        return asdict(found[0].view()) if found else None


MAX_SHOWN_RUNS = 100
"""Of one request: every hook of it and every pipeline of each."""


def _last_allowed(remembered: Sequence[Entry], run: Record, stage: str) -> Record | None:
    """The newest run before this one in which its stage had nothing against it."""
    began = run.get("began")
    before = began if isinstance(began, float | int) else 0.0
    for entry in remembered:
        older = entry.began <= before and entry.run_id != run.get("run_id")
        if older and entry.pipeline == run.get("pipeline") and entry.succeeded(stage):
            return entry.record()
    return None


def _brief(record: Record, stage: str | None) -> dict[str, object]:
    stages = record.get("stages")
    then = stages.get(stage) if isinstance(stages, Mapping) else None
    told = {name: record.get(name) for name in ("run_id", "request_id", "began", "revision", "verdict")}
    return told | {name: (then or {}).get(name) for name in ("generation", "version", "config", "mode")}


class _Requests:
    """From runs to request ids, for lines of logs: many in a row are of one run."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._known: dict[str, str] = {}
        self._looked = False

    def of(self, run: str) -> str:
        """The request id of a run; "" where nothing is known of it."""
        if not run:
            return ""
        if run not in self._known:
            found = self._orchestrator.engine.traced(run)
            if found is not None:
                self._known[run] = found[0]
            else:
                self._known |= {one.run_id: one.request_id for one in self._newly_remembered()}
            self._known.setdefault(run, "")
            while len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]
        return self._known[run]

    def _newly_remembered(self) -> Iterable[Entry]:
        """Every run that is remembered, at first; later only those that ended last: a live line is of a recent run."""
        entries = self._orchestrator.ring.entries()
        if not self._looked:
            self._looked = True
            return entries
        return (entry for entry, _ in zip(entries, range(RECENT), strict=False))


RECENT = 256
MAX_KNOWN = 20_000


def _unknown_stage(name: str, known: Iterable[str]) -> Refused:
    return Refused("penstock.unknown_stage", f"the file has no stage {name!r}{meant(name, dict.fromkeys(known))}")


def meant(name: str, known: Iterable[str]) -> str:
    """What to say behind an unknown name."""
    names = list(known)
    close = nearest(name, names)
    return f"; did you mean {close!r}?" if close else f"; there are {', '.join(names)}" if names else "; there are none"
