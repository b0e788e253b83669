"""The plans of revisions: kept before anything of them starts, joined with generations, and let go in the journal."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import msgspec

from isolation.generation import Generation
from orchestrator.engine.wiring import Route, Serving
from orchestrator.journal.errors import JournalError
from orchestrator.loading import Loaded
from orchestrator.revisions.archive import ArchivedRevision, archived_plan
from orchestrator.revisions.history import History
from orchestrator.revisions.refusal import ChangeNotMade
from orchestrator.revisions.revision import Candidate, Revision
from orchestrator.secrets import Handover

if TYPE_CHECKING:
    from orchestrator.durable.durability import Durability

__all__ = ["Join", "Kept", "Plans", "archived"]

log = logging.getLogger("penstock.revisions")

NO_JOURNAL_HINT = "start the host again, or use `penstock serve`, which always has one"


@dataclass(frozen=True, slots=True)
class Kept:
    """Where the plan of a revision to be is kept: its number, and its digest in the journal."""

    number: int
    origin: str


class Join(Protocol):
    """Joins a plan with its generations."""

    def __call__(
        self,
        loaded: Loaded,
        generations: Mapping[str, Generation],
        handed: Mapping[str, Handover],
        origin: str,
        revision: int,
    ) -> Mapping[str, tuple[Route, ...]]:
        """The routes of every hook. `origin` is the digest under which the journal keeps the plan."""


class Plans:
    """Keeps plans in the history, and in the journal where there is one: what serves can be had again.

    Where runs are not `journaled`, durable pipelines need no journal.
    """

    def __init__(self, history: History, join: Join, durability: Durability | None, *, journaled: bool) -> None:
        self.history = history
        self.durability = durability
        self.journaled = journaled
        self._join = join

    async def keep(self, candidate: Candidate, number: int = 0) -> Kept:
        """Keep a plan before anything of it starts, under the next number where there is none.

        Raises ChangeNotMade, JournalError and OSError.
        """
        number = number or self.history.next_number
        if self.durability is None and self.journaled and candidate.loaded.plan.durable:
            raise ChangeNotMade(
                "penstock.no_journal", "a pipeline is durable now, and the host has no journal", hint=NO_JOURNAL_HINT
            )
        await asyncio.to_thread(self.history.keep, number, msgspec.msgpack.encode(archived(candidate)))
        origin = ""
        if self.durability is not None:
            origin = await self.durability.keep(candidate.loaded, candidate.prepared)
        return Kept(number, origin)

    def join(
        self, candidate: Candidate, generations: Mapping[str, Generation], kept: Kept, by: str, of: int
    ) -> Revision:
        """The revision that a kept plan makes with generations. `of` is the one whose plan it has, 0 for its own."""
        plan = candidate.loaded.plan
        ordered = {name: generations[name] for name in plan.plugins}
        routes = self._join(candidate.loaded, ordered, candidate.handed, kept.origin, kept.number)
        serving = Serving(routes, plan.unmatched, frozenset(plan.hooks), kept.number)
        if self.durability is not None:
            self.durability.serves(kept.origin, routes)
        return Revision(kept.number, candidate, ordered, serving, kept.origin, by, time.time(), of or kept.number)

    def join_again(self, revision: Revision, again: Mapping[str, Generation]) -> Revision:
        """The same revision with some generations started again."""
        generations = {**revision.generations, **again}
        handed = revision.candidate.handed
        routes = self._join(revision.loaded, generations, handed, revision.origin, revision.number)
        serving = Serving(routes, revision.serving.unmatched, revision.serving.hooks, revision.number)
        return replace(revision, generations=generations, serving=serving)

    def serves_again(self, before: Revision, again: Revision) -> None:
        """Tell the journal that a revision has other routes now."""
        if self.durability is not None:
            self.durability.serves(again.origin, again.serving.routes)
            self.durability.no_longer(before.origin, before.serving.routes)

    def no_longer(self, revision: Revision) -> None:
        """Tell the journal that a revision has nothing left to do."""
        if self.durability is not None:
            self.durability.no_longer(revision.origin, revision.serving.routes)

    def earlier_runs(self, plugins: frozenset[str]) -> tuple[str, ...]:
        """The runs of earlier starts that need one of these plugins."""
        return () if self.durability is None else tuple(self.durability.runs_of(plugins))

    async def tidy(self) -> None:
        """Let the journal forget the plans of revisions that are gone, or never were."""
        if self.durability is None:
            return
        try:
            await self.durability.tidy()
        except (JournalError, OSError) as error:
            log.warning("journal.not_tidied", extra={"reason": str(error)})


def archived(candidate: Candidate) -> ArchivedRevision:
    """A candidate as the history keeps it."""
    plugins = candidate.outline.plugins.items()
    processes = {name: plugin.process for name, plugin in plugins}
    return ArchivedRevision(archived_plan(candidate.loaded, candidate.prepared), processes)
