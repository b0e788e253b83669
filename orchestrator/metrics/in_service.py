"""What of an orchestrator its metrics look at: which names are in service, and what there is to measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING

from isolation.generation import Generation
from orchestrator.journal.journal import Journal
from orchestrator.resilience.breaker import BreakerView
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
    def listeners_dropped(self) -> int:
        """Listeners to events that did not keep up."""
        return self._orchestrator.events.dropped

    @property
    def journal(self) -> Journal | None:
        """The journal, where there is one."""
        durability = self._orchestrator.durability
        return None if durability is None else durability.journal

    @property
    def generations(self) -> Mapping[str, Generation]:
        """Those that take new calls, by their plugin."""
        return self._orchestrator.generations

    def every_generation(self) -> Iterator[Generation]:
        """Those that have workers, the drained ones included."""
        yield from self._orchestrator.revisions.generations

    def plans(self) -> Iterator[PipelinePlan]:
        """The pipelines that take new calls."""
        for chain in self._orchestrator.engine.serving.routes.values():
            for route in chain:
                yield route.plan

    def breaker_views(self) -> Iterator[BreakerView]:
        """How the breakers stand that are asked before new calls."""
        asked = {generation.spec.name for generation in self.generations.values()}
        for breaker in self._orchestrator.breakers.all():
            if breaker.generation in asked:
                yield breaker.view()

    def breakers_called(self, name: str) -> Iterator[tuple[str, str, str]]:
        """The labels of the breaker that has this full name."""
        for breaker in self._orchestrator.breakers.all():
            if breaker.name == name:
                yield breaker.plugin, breaker.stage, breaker.policy.name

    # Names, to tell what is left behind.

    def hooks(self) -> Set[str]:
        """The hooks that can be called."""
        return self._orchestrator.engine.serving.hooks

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
        return self.generations.keys()

    def breakers(self) -> Set[tuple[str, str, str]]:
        """The labels of breakers."""
        return {(view.plugin, view.stage, view.policy) for view in self.breaker_views()}
