"""What of an orchestrator its metrics look at: which names are in service, and what there is to measure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING

from isolation.generation import Generation
from orchestrator.journal.journal import Journal
from orchestrator.resilience.breaker import Breaker
from orchestrator.revisions.revision import Revision
from orchestrator.revisions.revisions import Revisions
from pipelines.plan import PipelinePlan

if TYPE_CHECKING:
    from orchestrator.orchestrator import Orchestrator

__all__ = ["InService"]


class InService:
    """Looks when asked, and keeps nothing."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    @property
    def name(self) -> str:
        """The name in the pipeline file."""
        return self._orchestrator.loaded.plan.name

    @property
    def calls_in_flight(self) -> int:
        """Calls that are not answered yet."""
        return self._orchestrator.engine.under_way

    @property
    def open_runs(self) -> int:
        """Runs that last and are not over."""
        return len(self._orchestrator.engine.open)

    @property
    def events_missed(self) -> int:
        """What listeners that did not keep up went without."""
        return self._orchestrator.events.missed

    @property
    def journal(self) -> Journal | None:
        """The journal, where there is one."""
        durability = self._orchestrator.durability
        return None if durability is None else durability.journal

    @property
    def revisions(self) -> Revisions:
        """Which revisions there are."""
        return self._orchestrator.revisions

    @property
    def frozen(self) -> bool:
        """Whether the watcher holds back."""
        return self._orchestrator.freezing.on

    @property
    def every_generation(self) -> tuple[Generation, ...]:
        """Those that have workers, whether they take new calls or drain."""
        return self.revisions.generations

    def generations(self) -> Mapping[str, Sequence[Generation]]:
        """Those that take new calls, by their plugin: what serves first, then what is on trial."""
        found = defaultdict[str, list[Generation]](list)
        for revision in self._serving():
            for plugin, generation in revision.generations.items():
                if generation not in found[plugin]:
                    found[plugin].append(generation)
        return found

    def _serving(self) -> Iterator[Revision]:
        yield self.revisions.current
        if self.revisions.trial is not None:
            yield self.revisions.trial.revision

    def plans(self) -> Iterator[PipelinePlan]:
        """The pipelines that take new calls."""
        for revision in self._serving():
            for chain in revision.serving.routes.values():
                yield from (route.plan for route in chain)

    def breakers_of_workers(self) -> Iterator[Breaker]:
        """The breakers of generations that have workers; of two with the same name the later one is asked."""
        living = {generation.spec.name for generation in self.every_generation}
        return (breaker for breaker in self._orchestrator.breakers.all() if breaker.generation in living)

    def breakers_called(self, name: str) -> Iterator[tuple[str, str, str]]:
        """The plugin, its stage and the policy of the breaker that has this full name."""
        return (_labels(breaker) for breaker in self._orchestrator.breakers.all() if breaker.name == name)

    # Names, to tell what is left behind.

    def hooks(self) -> Set[str]:
        """The hooks that can be called."""
        return {hook for revision in self._serving() for hook in revision.serving.hooks}

    def routes(self) -> Set[tuple[str, str]]:
        """Hooks and pipelines."""
        return {(plan.hook.name, plan.name) for plan in self.plans()}

    def pipelines(self) -> Set[str]:
        """Pipelines."""
        return {plan.name for plan in self.plans()}

    def stages(self) -> Set[tuple[str, str]]:
        """Pipelines and stages."""
        return {(plan.name, stage.id) for plan in self.plans() for stage in plan.stages}

    def plugins(self) -> Set[str]:
        """Plugins."""
        return {generation.spec.plugin for generation in self.every_generation}

    def breakers(self) -> Set[tuple[str, str, str]]:
        """Plugins, their stages, and the policies."""
        return {_labels(breaker) for breaker in self.breakers_of_workers()}


def _labels(breaker: Breaker) -> tuple[str, str, str]:
    return breaker.plugin, breaker.stage, breaker.policy.name
