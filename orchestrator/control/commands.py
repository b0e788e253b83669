"""What can be asked about runs, and of an orchestrator in service: tables of commands, JSON in and out."""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import msgspec

from isolation.errors import IsolationError
from orchestrator.clock import Clock
from orchestrator.control.changes import ChangeCommands, Nothing
from orchestrator.control.looking import Looking, meant
from orchestrator.control.reasons import Asked, BreakerOf, Reasons
from orchestrator.control.refusal import Actor, Answer, Refused
from orchestrator.durable.durability import RunNotHad, RunStands
from orchestrator.engine.lasting import Lasting
from orchestrator.events import Event
from orchestrator.journal.awaiting import AwaitedJournal
from orchestrator.journal.errors import JournalError
from orchestrator.journal.journal import Journal
from orchestrator.journal.rows import UNFINISHED, RunStatus, RunUpdate
from orchestrator.lookout.feed import Feed, Missed
from orchestrator.lookout.standing import plugin_standing
from orchestrator.lookout.why import ChangesBetween, no_changes_known
from orchestrator.record.history import NoSuchRun, RunHistory, SeveralRuns, Wanted
from orchestrator.record.ring import Ring
from orchestrator.record.unmanned import UnmannedRoutes
from orchestrator.revisions.between import changes_between
from pipelines.suggest import nearest

if TYPE_CHECKING:
    from orchestrator.orchestrator import Orchestrator
    from orchestrator.resilience.breaker import Breaker

__all__ = ["Control", "RunCommands"]


class OneRun(msgspec.Struct, forbid_unknown_fields=True):
    """A run by its id, or by the end of it."""

    run: str
    reason: str = "asked for by command"


class Bounds(msgspec.Struct, forbid_unknown_fields=True):
    """What `runs.prune` leaves: runs that ended at `before` (seconds since 1970) or later, and the newest `keep`."""

    before: float | None = None
    keep: int | None = None


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """A breaker or a plugin."""

    name: str
    reason: str = "forced by command"


Command = tuple[type[msgspec.Struct], Callable[..., Awaitable[Answer]]]
"""Its parameters, and what follows it: called with them and with the Actor who asks."""

Stream = tuple[type[msgspec.Struct], Callable[..., AsyncIterator[Mapping[str, object]]]]
"""The same, but what is called gives one JSON object after the other until nobody takes them any more."""

EMBEDDED: Actor = "embedded"

QUEUED_EVENTS = 1000
"""Enough for a burst of a second; a listener that is further behind is not reading."""


class RunCommands:
    """What needs nobody but the journal and the ring. `journal` is None where the file has no durable pipeline."""

    def __init__(
        self,
        ring: Ring,
        journal: Journal | None,
        clock: Clock,
        open: Mapping[str, Lasting] = MappingProxyType({}),
        changes_between: ChangesBetween = no_changes_known,
        breaker_of: BreakerOf = lambda pipeline, stage: None,
    ) -> None:
        self._journal = journal
        routes = UnmannedRoutes(journal) if journal is not None else lambda row: None
        self._history = RunHistory(ring, journal, routes, clock, open)
        reasons = Reasons(ring, self._history, open, changes_between, breaker_of)
        self.streams: dict[str, Stream] = {}
        self.commands: dict[str, Command] = {
            "runs.list": (Wanted, self._list),
            "runs.show": (OneRun, self._show),
            "runs.park": (OneRun, self._park),
            "runs.prune": (Bounds, self._prune),
            "runs.rekey": (Nothing, self._rekey),
            "why": (Asked, reasons.why),
        }

    async def perform(self, command: str, params: Mapping[str, object], *, by: Actor = EMBEDDED) -> Answer:
        """Follow a command by its name. Raises Refused."""
        kind, act = _found(self.commands, command, "command")
        asked = _read(kind, command, params)
        try:
            return await act(asked, by)
        except (JournalError, RunNotHad, NoSuchRun, SeveralRuns, IsolationError) as error:
            raise Refused(error.code, str(error), error.hint) from error

    def stream(
        self, name: str, params: Mapping[str, object], *, by: Actor = EMBEDDED
    ) -> AsyncIterator[Mapping[str, object]]:
        """Begin a stream by its name. Raises Refused, and the stream may when it is asked for its first object."""
        kind, begin = _found(self.streams, name, "stream")
        return begin(_read(kind, name, params), by)

    async def _list(self, wanted: Wanted, _: Actor) -> Answer:
        return await self._history.listed(wanted)

    async def _show(self, run: OneRun, _: Actor) -> Answer:
        return await self._history.shown(await self._id(run))

    async def _id(self, run: OneRun) -> str:
        return await self._history.find(run.run)

    async def _park(self, run: OneRun, _: Actor) -> Answer:
        return await self._leave(await self._id(run), run.reason)

    async def _leave(self, id: str, reason: str) -> Answer:
        """Park a run that nobody works on, also one that cannot be read."""
        journal = self._kept()
        sketch = await asyncio.to_thread(journal.sketch, id)
        if sketch is None or sketch.status not in [status.value for status in UNFINISHED]:
            how = "not in the journal" if sketch is None else f"{sketch.status} already"
            raise RunStands(f"run {id} cannot be parked: it is {how}")
        await AwaitedJournal(journal).mark(id, RunUpdate(status=RunStatus.PARKED, reason=reason))
        return await self._history.shown(id)

    async def _prune(self, bounds: Bounds, _: Actor) -> Answer:
        return {"pruned": await AwaitedJournal(self._kept()).prune(bounds.before, bounds.keep)}

    async def _rekey(self, _: Nothing, by: Actor) -> Answer:
        return {"encrypted_anew": await AwaitedJournal(self._kept()).rekey()}

    def _kept(self) -> Journal:
        if self._journal is None:
            raise Refused("penstock.no_journal", "there is no journal: the file has no durable pipeline")
        return self._journal


class Control(RunCommands):
    """What can be asked of an orchestrator in service."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        durability, engine = orchestrator.durability, orchestrator.engine
        super().__init__(
            orchestrator.ring,
            None if durability is None else durability.journal,
            engine.clock,
            ChainMap(engine.open, engine.parked),
            changes_between=partial(changes_between, orchestrator.revisions.history),
            breaker_of=self._breaker_of,
        )
        self._orchestrator = orchestrator
        self.commands |= {
            "runs.resume": (OneRun, self._resume),
            "runs.compensate": (OneRun, self._compensate),
            "runs.confirm": (OneRun, self._confirm),
            "breakers.list": (Nothing, self._breakers),
            "breakers.open": (Named, self._open),
            "breakers.reset": (Named, self._reset),
            "plugin.restart": (Named, self._restart),
        }
        self.commands |= ChangeCommands(orchestrator.revisions, orchestrator.freezing, orchestrator.overrides).commands
        self.streams |= {
            "events": (Nothing, self._events),
        }
        looking = Looking(orchestrator)
        self.commands |= looking.commands
        self.streams |= looking.streams

    async def _events(self, _: Nothing, by: Actor) -> AsyncIterator[Mapping[str, object]]:
        """Every event from now on, by its type, with the time at which it was heard in seconds since 1970.

        The first object says that nothing is missed from then on.
        """
        events, clock = self._orchestrator.events, self._orchestrator.engine.clock
        feed = Feed[Mapping[str, object]](QUEUED_EVENTS, lost=events.note_missed)

        def hear(event: Event) -> None:
            told = msgspec.to_builtins(event)
            feed.put({"type": type(event).__name__, "at": round(clock.wall(), 3), **told})

        silence = events.subscribe(hear)
        feed.put({"type": "Listening", "at": round(clock.wall(), 3)})
        try:
            async for item in feed.read():
                yield item.as_json() if isinstance(item, Missed) else item
        finally:
            silence()

    def _breaker_of(self, pipeline: str, stage: str) -> Mapping[str, object] | None:
        for chain in self._orchestrator.engine.serving.routes.values():
            for route in chain:
                for wire in route.wires:
                    if (route.plan.name, wire.plan.id) == (pipeline, stage) and wire.breaker is not None:
                        return asdict(wire.breaker.view())
        return None

    async def _restart(self, named: Named, _: Actor) -> Answer:
        generation = self._orchestrator.generations.get(named.name)
        if generation is None:
            raise Refused(
                "penstock.unknown_plugin",
                f"the file has no plugin {named.name!r}{meant(named.name, self._orchestrator.generations)}",
            )
        await generation.restart()
        return plugin_standing(generation, self._orchestrator.engine.clock.now(), {})

    async def _breakers(self, _: Nothing, by: Actor) -> Answer:
        return [asdict(view) for view in self._orchestrator.breakers.views()]

    async def _open(self, named: Named, _: Actor) -> Answer:
        return self._each_breaker(named, lambda breaker: breaker.force_open(named.reason))

    async def _reset(self, named: Named, _: Actor) -> Answer:
        return self._each_breaker(named, lambda breaker: breaker.reset())

    def _each_breaker(self, named: Named, act: Callable[[Breaker], None]) -> Answer:
        found = self._orchestrator.breakers.find(named.name)
        if not found:
            views = self._orchestrator.breakers.views()
            names = dict.fromkeys(f"{view.plugin}/{view.stage}" for view in views)
            raise Refused("penstock.unknown_breaker", f"there is no breaker {named.name!r}{meant(named.name, names)}")
        for breaker in found:
            act(breaker)
        return [asdict(breaker.view()) for breaker in found]

    async def _park(self, run: OneRun, _: Actor) -> Answer:
        id = await self._id(run)
        open_run = self._orchestrator.engine.open.get(id)
        if open_run is None:
            return await self._leave(id, run.reason)
        if not open_run.park(run.reason):
            raise RunStands(f"run {id} cannot be parked: it is {open_run.status}, and nothing of it is being undone")
        return await self._settle(open_run)

    async def _resume(self, run: OneRun, _: Actor) -> Answer:
        resumed = await self._orchestrator.resume(await self._id(run))
        if resumed.waits_for_caller and not resumed.revoked_for:
            return await self._history.shown(resumed.id)  # it goes on when its caller says so, or says nothing in time
        return await self._settle(resumed)

    async def _compensate(self, run: OneRun, _: Actor) -> Answer:
        return await self._settle(await self._orchestrator.compensate(await self._id(run), run.reason))

    async def _settle(self, run: Lasting) -> Answer:
        await self._orchestrator.settled(run)
        return await self._history.shown(run.id)

    async def _confirm(self, run: OneRun, _: Actor) -> Answer:
        id = await self._id(run)
        if not await self._orchestrator.confirm(id):
            raise Refused(
                "penstock.not_confirming",
                f"run {id} does not wait for a confirmation (any more)",
                "`penstock runs show` says what became of it",
            )
        return {"run_id": id, "confirmed": True}


_Entry = TypeVar("_Entry")


def _found(table: Mapping[str, _Entry], name: str, what: str) -> _Entry:
    found = table.get(name)
    if found is None:
        close = nearest(name, table)
        meant = f"; did you mean {close!r}?" if close else ""
        raise Refused("penstock.unknown_command", f"there is no {what} {name!r} here{meant}")
    return found


def _read(kind: type[msgspec.Struct], name: str, params: Mapping[str, object]) -> msgspec.Struct:
    try:
        return msgspec.convert(dict(params), kind)
    except msgspec.ValidationError as error:
        raise Refused("penstock.bad_command", f"{name}: {error}") from error
