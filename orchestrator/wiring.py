"""What every run of a pipeline needs and no run changes: encoded once, when the pipeline is put into service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from isolation.call import Call
from isolation.protocol.messages import envelope
from isolation.spec import WorkerSpec
from pipelines.plan import PipelinePlan, StagePlan, Variant
from pipelines.run import Shape

__all__ = ["Callee", "Route", "Wire", "routes_of"]


class Callee(Protocol):
    """All that a run asks of a generation."""

    @property
    def spec(self) -> WorkerSpec:
        """What its workers are."""

    def submit(self, call: Call) -> None:
        """Take a call; it ends exactly once, by its deadline."""

    def cancel(self, call: Call) -> None:
        """Nobody waits for `call` any more: it ends without a word."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One stage of a route with its plugin. `envelopes` stand beside the variants of the plan."""

    plan: StagePlan
    generation: Callee
    envelopes: tuple[bytes, ...]
    key: bytes

    @property
    def standard(self) -> Variant:
        """The stage as written."""
        return self.plan.variants[-1]


@dataclass(frozen=True, slots=True)
class Route:
    """One pipeline on one hook, ready to run."""

    plan: PipelinePlan
    shape: Shape
    wires: tuple[Wire, ...]


def _wire(stage: StagePlan, hook: str, generations: Mapping[str, Callee]) -> Wire:
    envelopes = tuple(envelope(stage.stage, hook, variant.config) for variant in stage.variants)
    return Wire(stage, generations[stage.plugin], envelopes, b"/" + stage.id.encode())


def routes_of(
    plans: Mapping[str, tuple[PipelinePlan, ...]], generations: Mapping[str, Callee]
) -> dict[str, tuple[Route, ...]]:
    """Join every pipeline of every hook with the generations that serve its stages."""
    routes: dict[str, tuple[Route, ...]] = {}
    for hook, pipelines in plans.items():
        ready = []
        for plan in pipelines:
            shape = Shape.of([stage.needs for stage in plan.stages])
            wires = tuple(_wire(stage, hook, generations) for stage in plan.stages)
            ready.append(Route(plan, shape, wires))
        routes[hook] = tuple(ready)
    return routes
