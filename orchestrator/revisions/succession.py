"""How one revision comes into service after another: what is new of it starts beside what serves, then calls move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from orchestrator.generations import Report
from orchestrator.reload.change import Action, Change
from orchestrator.revisions.drain import Drain
from orchestrator.revisions.generations import Generations
from orchestrator.revisions.living import Living
from orchestrator.revisions.plans import Plans
from orchestrator.revisions.replacing import Replacing
from orchestrator.revisions.revision import Candidate, Revision
from orchestrator.revisions.trials import ANOTHER_CHANGE, Trials
from orchestrator.revisions.turns import Turns
from pipelines.plan import SplitPlan

__all__ = ["Asked", "Succession"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A change as somebody asked for it: who, and what makes the candidate. `reason` says why, where that is known.

    `of` is the revision whose plan is to serve again, 0 where the plan is new. Only what `follows_files` may be put on
    trial.
    """

    by: str
    made: Callable[[Report], Candidate]
    report: Report
    of: int = 0
    follows_files: bool = False
    reason: str = ""


class Succession:
    """Makes a candidate the revision that serves, or that is on trial."""

    def __init__(
        self, living: Living, generations: Generations, plans: Plans, drain: Drain, trials: Trials, turns: Turns
    ) -> None:
        self._living = living
        self._generations = generations
        self._plans = plans
        self._drain = drain
        self._trials = trials
        self._turns = turns
        self._replacing = Replacing(living, generations, plans, trials)

    async def bring_up(
        self, asked: Asked, candidate: Candidate, change: Change, splits: Mapping[str, SplitPlan]
    ) -> Revision:
        """Start what is new and swap to it, or put it on trial where there are `splits`.

        Where that fails, stop what was started and raise: IsolationError, ChangeNotMade, JournalError, OSError.
        """
        before = self._living.current
        wanted = candidate.wanted
        actions = change.plugins
        beside = {name: wanted[name] for name in wanted if actions[name] in (Action.START, Action.SWAP)}
        in_place = {name: wanted[name] for name in wanted if actions[name] is Action.REPLACE}
        kept = {name: before.generations[name] for name in wanted if actions[name] in (Action.KEEP, Action.RECONFIGURE)}
        plan = await self._plans.keep(candidate)
        async with self._way(asked):
            fresh = await self._generations.fleet.start(beside, asked.report)
        try:
            async with self._way(asked):
                await self._generations.test(fresh, wanted)
            changed = [name for name in kept if actions[name] is Action.RECONFIGURE]
            await self._generations.widen(kept, wanted, changed)
            if in_place:
                fresh |= await self._replacing.replace(in_place, asked.by, asked.report)
            revision = self._plans.join(candidate, {**kept, **fresh}, plan, asked.by, asked.of)
            self._move_calls(revision, splits)
        except BaseException:
            await self._generations.stop(fresh.values())
            await self._generations.narrow(kept.values())
            raise
        finally:
            self._living.engine.release()
        return revision

    def _way(self, asked: Asked) -> AbstractAsyncContextManager[None]:
        # Nothing is touched yet of what serves. What serves again gives way to nobody: that is what others wait for.
        return self._turns.giving_way() if asked.follows_files else nullcontext()

    def _move_calls(self, revision: Revision, splits: Mapping[str, SplitPlan]) -> None:
        self._trials.end(ANOTHER_CHANGE, revision.by)
        if splits:
            self._trials.begin(revision, splits)
        else:
            self._drain.begin(self._living.swap(revision))
