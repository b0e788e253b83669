"""What can be asked about runs, and of an orchestrator in service: tables of commands, JSON in and out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import msgspec

from isolation.errors import StartError
from orchestrator.clock import Clock
from orchestrator.durability import RunNotHad
from orchestrator.journal.awaiting import AwaitedJournal
from orchestrator.journal.errors import JournalError
from orchestrator.journal.journal import Journal
from orchestrator.journal.rows import UNFINISHED, RunStatus, RunUpdate
from orchestrator.lasting import Lasting
from orchestrator.records import record_of
from orchestrator.ring import Ring
from orchestrator.runs import RunHistory, Wanted
from orchestrator.unmanned import UnmannedRoutes

if TYPE_CHECKING:
    from orchestrator.orchestrator import Orchestrator

__all__ = ["Answer", "Control", "Refused", "RunCommands"]

Answer = Mapping[str, object] | list[dict[str, object]]

_LIST = "`penstock runs list` shows the runs that are known"


class Refused(Exception):
    """The command cannot be followed. `code` is stable, `hint` says what to do."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No parameters."""


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


class RunCommands:
    """What needs nobody but the journal and the ring. `journal` is None where the file has no durable pipeline."""

    def __init__(self, ring: Ring, journal: Journal | None, clock: Clock) -> None:
        self._journal = journal
        routes = UnmannedRoutes(journal) if journal is not None else lambda row: None
        self._history = RunHistory(ring, journal, routes, clock)
        self.commands: dict[str, Command] = {
            "runs.list": (Wanted, self._list),
            "runs.show": (OneRun, self._show),
            "runs.park": (OneRun, self._park),
            "runs.prune": (Bounds, self._prune),
            "runs.rekey": (Nothing, self._rekey),
        }

    async def perform(self, command: str, params: Mapping[str, object]) -> Answer:
        """Follow a command by its name. Raises Refused."""
        found = self.commands.get(command)
        if found is None:
            raise Refused("penstock.unknown_command", f"there is no command {command!r} here")
        kind, act = found
        try:
            return await act(msgspec.convert(dict(params), kind))
        except msgspec.ValidationError as error:
            raise Refused("penstock.bad_command", f"{command}: {error}") from error
        except (JournalError, RunNotHad, StartError) as error:
            raise Refused(error.code, str(error), error.hint) from error

    async def _list(self, wanted: Wanted) -> Answer:
        return self._history.listed(wanted)

    async def _show(self, run: OneRun) -> Answer:
        return self._shown(self._id(run.run))

    def _id(self, run: str) -> str:
        found = self._history.find(run)
        if found is None:
            raise Refused("penstock.unknown_run", f"no run, or more than one, ends in {run!r}", _LIST)
        return found

    def _shown(self, run: str) -> Answer:
        found = self._history.shown(run)
        if found is None:
            raise Refused("penstock.unknown_run", f"nothing is known of run {run}", _LIST)
        return found

    async def _park(self, run: OneRun) -> Answer:
        id = self._id(run.run)
        row = self._kept().run(id)
        if row is None or row.status not in UNFINISHED:
            raise Refused("penstock.run_not_had", f"run {id} cannot be parked: it is over")
        await AwaitedJournal(self._kept()).mark(id, RunUpdate(status=RunStatus.PARKED, reason=run.reason))
        return self._shown(id)

    async def _prune(self, bounds: Bounds) -> Answer:
        return {"pruned": await AwaitedJournal(self._kept()).prune(bounds.before, bounds.keep)}

    async def _rekey(self, _: Nothing) -> Answer:
        return {"encrypted_anew": await AwaitedJournal(self._kept()).rekey()}

    def _kept(self) -> Journal:
        if self._journal is None:
            raise Refused("penstock.no_journal", "there is no journal: the file has no durable pipeline")
        return self._journal


class Control(RunCommands):
    """What can be asked of an orchestrator in service."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        durability = orchestrator.durability
        super().__init__(
            orchestrator.ring, None if durability is None else durability.journal, orchestrator.engine.clock
        )
        self._orchestrator = orchestrator
        self.commands |= {
            "status": (Nothing, self._status),
            "runs.resume": (OneRun, self._resume),
            "runs.compensate": (OneRun, self._compensate),
            "runs.confirm": (OneRun, self._confirm),
            "breakers.list": (Nothing, self._breakers),
            "breakers.open": (Named, self._open),
            "breakers.reset": (Named, self._reset),
            "plugin.restart": (Named, self._restart),
        }

    async def _status(self, _: Nothing) -> Answer:
        engine = self._orchestrator.engine
        return {
            "name": self._orchestrator.loaded.plan.name,
            "plugins": [_plugin(asdict(one.status)) for one in self._orchestrator.generations.values()],
            "calls": engine.under_way,
            "open_runs": sorted(engine.open),
        }

    async def _restart(self, named: Named) -> Answer:
        generation = self._orchestrator.generations.get(named.name)
        if generation is None:
            names = ", ".join(self._orchestrator.generations)
            raise Refused("penstock.unknown_plugin", f"there is no plugin {named.name!r}; there are {names}")
        await generation.restart()
        return _plugin(asdict(generation.status))

    async def _breakers(self, _: Nothing) -> Answer:
        return [asdict(view) for view in self._orchestrator.breakers.views()]

    async def _open(self, named: Named) -> Answer:
        return self._each_breaker(named, lambda breaker: breaker.force_open(named.reason))

    async def _reset(self, named: Named) -> Answer:
        return self._each_breaker(named, lambda breaker: breaker.reset())

    def _each_breaker(self, named: Named, act: Callable[..., None]) -> Answer:
        found = self._orchestrator.breakers.find(named.name)
        if not found:
            names = ", ".join(f"{view.plugin}/{view.stage}" for view in self._orchestrator.breakers.views()) or "none"
            raise Refused("penstock.unknown_breaker", f"there is no breaker {named.name!r}; there are {names}")
        for breaker in found:
            act(breaker)
        return [asdict(breaker.view()) for breaker in found]

    def _id(self, run: str) -> str:
        return run if self._orchestrator.engine.held(run) is not None else super()._id(run)

    def _shown(self, run: str) -> Answer:
        held = self._orchestrator.engine.held(run)
        return super()._shown(run) if held is None or held.recorder is not None else record_of(held)

    async def _park(self, run: OneRun) -> Answer:
        id = self._id(run.run)
        open_run = self._orchestrator.engine.open.get(id)
        if open_run is None:
            return await super()._park(run)
        if not open_run.park(run.reason):
            raise Refused("penstock.run_not_had", f"run {id} cannot be parked: nothing of it is being undone")
        return await self._settle(open_run)

    async def _resume(self, run: OneRun) -> Answer:
        return await self._settle(await self._orchestrator.resume(self._id(run.run)))

    async def _compensate(self, run: OneRun) -> Answer:
        return await self._settle(await self._orchestrator.compensate(self._id(run.run), run.reason))

    async def _settle(self, run: Lasting) -> Answer:
        await self._orchestrator.settled(run)
        return self._shown(run.id)

    async def _confirm(self, run: OneRun) -> Answer:
        id = self._id(run.run)
        if not await self._orchestrator.confirm(id):
            raise Refused("penstock.not_confirming", f"run {id} does not wait for a confirmation (any more)")
        return {"run_id": id, "confirmed": True}


def _plugin(status: dict[str, object]) -> dict[str, object]:
    state, last_exit = status["state"], status["last_exit"]
    return {**status, "state": getattr(state, "value", state), "last_exit": last_exit and dict(last_exit)}  # type: ignore[call-overload]
