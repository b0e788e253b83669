"""How a plugin is replaced of which there can be only one generation: the old one stops before the new one starts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from isolation.generation import Generation
from orchestrator.generations import Report, Wanted
from orchestrator.revisions.generations import Generations
from orchestrator.revisions.living import Living
from orchestrator.revisions.plans import Plans
from orchestrator.revisions.refusal import ChangeNotMade
from orchestrator.revisions.revision import Revision
from orchestrator.revisions.trials import ANOTHER_CHANGE, Trials
from pipelines.plan import PipelinePlan, Plan

__all__ = ["Replacing"]

ANSWER_SECONDS = 1.0
"""What an answer takes beyond the deadline of its pipeline: its way here, a sync of the journal."""


class Replacing:
    """Replaces generations in place. Meanwhile the calls of their hooks wait, which the engine holds."""

    def __init__(self, living: Living, generations: Generations, plans: Plans, trials: Trials) -> None:
        self._living = living
        self._generations = generations
        self._plans = plans
        self._trials = trials

    async def replace(self, in_place: Mapping[str, Wanted], by: str, report: Report) -> dict[str, Generation]:
        """Stop the old generations, then start the new ones; the calls of their hooks wait, until the caller swaps.

        Where that fails, the old ones are started again. Raises IsolationError and ChangeNotMade.
        """
        # It would stand beside what bears no second, and be left with what is stopped here.
        self._trials.end(ANOTHER_CHANGE, by)
        before = self._living.current
        self._living.engine.hold(_hooks_of(before.loaded.plan, in_place))
        await self._wait_for(frozenset(in_place))
        await self._generations.make_room(in_place)
        try:
            fresh = await self._generations.fleet.start(in_place, report)
            await self._generations.test(fresh, in_place)
        except asyncio.CancelledError:
            raise  # the host closes
        except BaseException:
            await self._put_back(before, in_place)
            raise
        return fresh

    async def _wait_for(self, plugins: frozenset[str]) -> None:
        """Wait until no run needs the generations that are to be stopped; at most until every call must be answered."""
        engine = self._living.engine
        holders = {one.number: (one, _hooks_of(one.loaded.plan, plugins)) for one in self._living}
        bound = max((_longest(one.loaded.plan, hooks) for one, hooks in holders.values()), default=0.0)
        try:
            async with asyncio.timeout(bound + ANSWER_SECONDS):
                for number, (_, hooks) in holders.items():
                    await engine.drained(number, hooks)
        except TimeoutError:
            runs = [run for number, (_, hooks) in holders.items() for run in engine.holders(number, hooks)]
            raise _still_needed(runs) from None
        if earlier := self._plans.earlier_runs(plugins):
            raise _still_needed(earlier)

    async def _put_back(self, before: Revision, names: Iterable[str]) -> None:
        """Start again what was stopped for its successor, which failed."""
        wanted = before.candidate.wanted
        again = await self._generations.fleet.start({name: wanted[name] for name in names}, keep_failed=True)
        restored = self._plans.join_again(before, again)
        self._living.swap(restored)
        self._plans.serves_again(before, restored)


def _still_needed(runs: Iterable[str]) -> ChangeNotMade:
    shown = ", ".join(list(runs)[:5]) or "calls under way"
    return ChangeNotMade(
        "penstock.still_needed",
        f"the generation that is to be replaced is still needed by {shown}",
        hint="`penstock runs show ID` says what they wait for; try again when they are over",
    )


def _longest(plan: Plan, hooks: Iterable[str]) -> float:
    """The seconds within which every call of these hooks is answered."""
    return max((sum(each.deadline_seconds for each in plan.routes.get(hook, ())) for hook in hooks), default=0.0)


def _hooks_of(plan: Plan, plugins: Iterable[str]) -> frozenset[str]:
    """The hooks of which some call may need one of these plugins."""
    return frozenset(hook for hook, chain in plan.routes.items() if set(plugins) & set(_called(chain)))


def _called(chain: Iterable[PipelinePlan]) -> Iterator[str]:
    for pipeline in chain:
        for stage in (*pipeline.stages, *pipeline.finals):
            yield stage.plugin
            if stage.undo is not None:
                yield stage.undo.plugin
