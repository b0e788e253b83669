"""The generations of revisions: started and tested, given configurations, and stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from isolation.errors import IsolationError
from isolation.generation import Generation
from orchestrator.generations import Fleet, Wanted
from orchestrator.revisions.living import Living
from orchestrator.revisions.selftest import self_test

if TYPE_CHECKING:
    from orchestrator.resilience.breakers import Breakers

__all__ = ["Generations"]

log = logging.getLogger("penstock.revisions")


class Generations:
    """What is done to the generations in `fleet` on behalf of the revisions that live."""

    def __init__(self, fleet: Fleet, breakers: Breakers, living: Living) -> None:
        self.fleet = fleet
        self._breakers = breakers
        self._living = living

    async def test(self, generations: Mapping[str, Generation], wanted: Mapping[str, Wanted]) -> None:
        """Let generations that take no calls yet test themselves. Where one fails, stop all of them and raise."""
        try:
            await asyncio.gather(*(self_test(each, tuple(wanted[name].configs)) for name, each in generations.items()))
        except BaseException:
            await self.stop(generations.values())
            raise

    async def widen(self, kept: Mapping[str, Generation], wanted: Mapping[str, Wanted], names: Iterable[str]) -> None:
        """Give generations that stay the new configurations beside the old ones, which runs under way still name."""
        for name in names:
            await kept[name].configure({**self._living.table(kept[name]), **wanted[name].configs})

    async def narrow(self, generations: Iterable[Generation]) -> None:
        """Take configurations back that no revision names any more; where that fails, they stay."""
        for generation in generations:
            table = self._living.table(generation)
            if table == generation.table:
                continue
            try:
                await generation.configure(table)
            except IsolationError as error:
                log.warning("generation.not_narrowed", extra={"plugin": generation.spec.plugin, "reason": str(error)})

    async def stop(self, generations: Iterable[Generation]) -> None:
        """Stop generations, and forget the breakers that nobody has any more."""
        gone = tuple(generations)
        await asyncio.gather(*map(self.fleet.stop, gone))
        living = {generation.spec.name for generation in self.fleet.generations}
        for name in {generation.spec.name for generation in gone} - living:
            self._breakers.forget(name)

    async def make_room(self, plugins: Collection[str]) -> None:
        """Stop every generation of these plugins, those of revisions that drain too.

        Their breakers stay: what failed may come back.
        """
        old = [generation for generation in self.fleet.generations if generation.spec.plugin in plugins]
        await asyncio.gather(*map(self.fleet.stop, old))
