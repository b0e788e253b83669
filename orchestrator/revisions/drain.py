"""How a revision goes out of service: it finishes what it began, then what only it had is stopped and let go."""

from __future__ import annotations

import logging
from collections.abc import Callable

from orchestrator.events import Event, RevisionDraining, RevisionGone
from orchestrator.revisions.generations import Generations
from orchestrator.revisions.leases import Leases
from orchestrator.revisions.living import Living
from orchestrator.revisions.plans import Plans
from orchestrator.revisions.revision import Revision
from orchestrator.revisions.turns import Turns

__all__ = ["Drain"]

log = logging.getLogger("penstock.revisions")


class Drain:
    """Takes revisions that are given no calls any more, until nothing of them is left."""

    def __init__(
        self,
        living: Living,
        generations: Generations,
        plans: Plans,
        leases: Leases,
        turns: Turns,
        publish: Callable[[Event], None],
    ) -> None:
        self._living = living
        self._generations = generations
        self._plans = plans
        self._leases = leases
        self._turns = turns
        self._publish = publish

    def begin(self, revision: Revision) -> None:
        """Let a revision drain that is given no new calls."""
        self._living.leaving[revision.number] = revision
        self._turns.own(self._drained(revision))

    async def _drained(self, revision: Revision) -> None:
        """Let a revision finish what it began, then stop what only it has."""
        engine = self._living.engine
        self._publish(RevisionDraining(revision.number, engine.holders(revision.number)))
        await engine.drained(revision.number)
        del self._living.leaving[revision.number]
        self._plans.no_longer(revision)
        shared = {generation for one in self._living for generation in one.generations.values()}
        generations = revision.generations.values()
        await self._generations.stop(generation for generation in generations if generation not in shared)
        async with self._turns.alone:  # a change that is under way may be widening a table
            await self._generations.narrow(generation for generation in generations if generation in shared)
            await self._plans.tidy()
        self._leases.keep(revision)
        self._publish(RevisionGone(revision.number))
        log.info("revision.gone", extra={"revision": revision.number})
