"""The command and the streams with which an operator looks at a host: how it stands, its figures, its logs, its stages.

They change nothing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import msgspec

from orchestrator.control.changes import standing as changes_standing
from orchestrator.control.refusal import Actor, Answer, Refused
from orchestrator.events import StageTapped
from orchestrator.lookout.feed import MISSED, Missed
from orchestrator.lookout.logbook import HOST, LEVELS, WantedLines
from orchestrator.lookout.meter import Meter
from orchestrator.lookout.standing import standing
from orchestrator.lookout.taps import Tap
from orchestrator.record.ring import Entry
from pipelines.plan import StagePlan
from pipelines.suggest import nearest

if TYPE_CHECKING:
    from orchestrator.orchestrator import Orchestrator

__all__ = ["Looking", "Stream", "meant"]

log = logging.getLogger("penstock.control")

Command = tuple[type[msgspec.Struct], Callable[..., Awaitable[Answer]]]
Stream = tuple[type[msgspec.Struct], Callable[..., AsyncGenerator[dict[str, object], None]]]

MAX_LINES = 10_000


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
    """Which stage to look at, in which pipeline, and how often. `stage` may be PIPELINE/STAGE, too."""

    stage: str
    pipeline: str | None = None
    values: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Often(msgspec.Struct, forbid_unknown_fields=True):
    """How often figures are told."""

    interval_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=60.0)] = 1.0


class Looking:
    """Its tables are part of a host's."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self.commands: dict[str, Command] = {"status": (_Nothing, self._status)}
        self.streams: dict[str, Stream] = {
            "logs": (Lines, self._logs),
            "tap": (Tapped, self._tap),
            "top": (Often, self._top),
        }

    async def _status(self, _: _Nothing, by: Actor) -> Answer:
        host = self._orchestrator
        changes = changes_standing(host.revisions, host.freezing, host.overrides, host.watch)
        return await standing(self._orchestrator, changes)

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
                yield entry.as_json(*(entry.asked or requests.of(entry.run)))
            if not asked.follow:
                return
            async for found in feed.read():
                if isinstance(found, Missed):
                    yield found.as_json()
                elif found.number > last:
                    yield found.as_json(*(found.asked or requests.of(found.run)))

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
        if asked.pipeline is None and "/" in asked.stage:
            pipeline, stage = asked.stage.split("/", 1)
            asked = msgspec.structs.replace(asked, pipeline=pipeline, stage=stage)
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
        ids = [plan.id for one in pipelines if pipeline in (None, one.name) for plan in (*one.stages, *one.finals)]
        if stage not in ids:
            raise _unknown_stage(stage, ids)

    def _tell_of(self, asked: Tapped, by: str) -> None:
        """Whoever sees values is told of: payloads may hold what nobody should read."""
        fields = {"tapped": asked.stage, "by": by, "pipeline": asked.pipeline or "", "values": asked.values}
        log.log(logging.WARNING if asked.values else logging.INFO, "stage.tapped", extra=fields)
        self._orchestrator.events.publish(StageTapped(asked.stage, asked.pipeline, by, asked.values))


class _Requests:
    """From runs to their request ids and traces, for lines of logs: many in a row are of one run."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._known: dict[str, tuple[str, str]] = {}
        self._looked = False

    def of(self, run: str) -> tuple[str, str]:
        """The request id and the trace of a run; "" where nothing is known of it."""
        if not run:
            return _NOTHING_KNOWN
        if run not in self._known:
            found = self._orchestrator.engine.traced(run)
            if found is not None:
                self._known[run] = found
            else:
                self._known |= {one.run_id: (one.request_id, one.trace) for one in self._newly_remembered()}
            self._known.setdefault(run, _NOTHING_KNOWN)
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
_NOTHING_KNOWN = ("", "")


def _unknown_stage(name: str, known: Iterable[str]) -> Refused:
    return Refused("penstock.unknown_stage", f"the file has no stage {name!r}{meant(name, dict.fromkeys(known))}")


def meant(name: str, known: Iterable[str]) -> str:
    """What to say behind an unknown name."""
    names = list(known)
    close = nearest(name, names)
    return f"; did you mean {close!r}?" if close else f"; there are {', '.join(names)}" if names else "; there are none"
