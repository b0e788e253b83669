"""What every run of a pipeline needs and no run changes: encoded once, when the pipeline is put into service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from isolation.call import Call
from isolation.protocol.messages import envelope
from isolation.spec import WorkerSpec
from orchestrator.resilience.breaker import Breaker
from orchestrator.resilience.breakers import Breakers
from orchestrator.resilience.retry import Draw, Retries
from pipelines.plan import PipelinePlan, RetryPolicy, StagePlan, UndoPlan, Unmatched, Variant
from pipelines.run import Shape

__all__ = ["Callee", "Route", "Serving", "UndoWire", "Wire", "routes_of"]


class Callee(Protocol):
    """All that a run asks of a generation."""

    @property
    def spec(self) -> WorkerSpec:
        """What its workers are."""

    def submit(self, call: Call) -> None:
        """Take a call; it ends exactly once, by its deadline."""

    def cancel(self, call: Call) -> None:
        """Nobody waits for `call` any more: it ends without a word."""


ConfigIds = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class UndoWire:
    """The compensation of a stage with its plugin. Its breaker hears of it and never stops it."""

    plan: UndoPlan
    generation: Callee
    envelope: bytes
    key: bytes
    retries: Retries | None
    breaker: Breaker | None


@dataclass(frozen=True, slots=True)
class Wire:
    """One stage of a route with its plugin. `envelopes` stand beside the variants of the plan."""

    plan: StagePlan
    generation: Callee
    envelopes: tuple[bytes, ...]
    key: bytes
    retries: Retries | None = None
    breaker: Breaker | None = None
    undo: UndoWire | None = None

    @property
    def standard(self) -> Variant:
        """The stage as written."""
        return self.plan.variants[-1]


@dataclass(frozen=True, slots=True)
class Route:
    """One pipeline on one hook, ready to run. `origin` names the archived plan that a durable one was made from.

    `revision` is the one that put it into service, 0 where it serves only the runs of an earlier start. `signs` says
    whether the host signs something that a stage puts out.
    """

    plan: PipelinePlan
    shape: Shape
    wires: tuple[Wire, ...]
    finals: tuple[Wire, ...] = ()
    origin: str = ""
    revision: int = 0
    signs: bool = False


@dataclass(slots=True, eq=False)
class Serving:
    """What answers calls, all of one revision. It never changes but for `calls`, which counts those under way."""

    routes: Mapping[str, tuple[Route, ...]]
    unmatched: Mapping[str, Unmatched]
    hooks: frozenset[str]
    revision: int = 0
    calls: int = field(default=0, init=False)


@dataclass(frozen=True, slots=True)
class _Loom:
    hook: str
    generations: Mapping[str, Callee]
    config_ids: ConfigIds
    breakers: Breakers
    draw: Draw

    def wire(self, stage: StagePlan, prefix: bytes = b"/") -> Wire:
        generation = self.generations[stage.plugin]
        key = prefix + stage.id.encode()
        return Wire(
            stage,
            generation,
            tuple(self._envelope(stage.plugin, stage.stage, variant.config) for variant in stage.variants),
            key,
            self._retries(stage.retry, idempotent=stage.idempotent),
            self._breaker(generation, stage.stage, stage),
            None if stage.undo is None else self._undo(stage, stage.undo, key),
        )

    def _undo(self, stage: StagePlan, undo: UndoPlan, key: bytes) -> UndoWire:
        generation = self.generations[undo.plugin]
        return UndoWire(
            undo,
            generation,
            self._envelope(undo.plugin, undo.stage, undo.config),
            key + b"/undo",
            self._retries(undo.retry, idempotent=True),
            self._breaker(generation, undo.stage, stage),
        )

    def _envelope(self, plugin: str, stage: str, config: str) -> bytes:
        """What every call of the stage begins with; a configuration with secrets has an id of its own on the wire."""
        return envelope(stage, self.hook, self.config_ids.get(plugin, {}).get(config, config))

    def _retries(self, policy: RetryPolicy | None, *, idempotent: bool) -> Retries | None:
        if policy is None or policy.attempts == 1:
            return None
        return Retries(policy, idempotent=idempotent, draw=self.draw)

    def _breaker(self, generation: Callee, stage: str, plan: StagePlan) -> Breaker | None:
        return None if plan.breaker is None else self.breakers.of(generation.spec.name, stage, plan.breaker)


def routes_of(
    plans: Mapping[str, tuple[PipelinePlan, ...]],
    generations: Mapping[str, Callee],
    breakers: Breakers,
    draw: Draw,
    origin: str = "",
    revision: int = 0,
    config_ids: ConfigIds = MappingProxyType({}),
) -> dict[str, tuple[Route, ...]]:
    """Join every pipeline of every hook with the generations that serve its stages.

    `draw` is the randomness of retries; `origin` the digest under which the journal keeps the plan.
    `config_ids` has, by plugin, the ids that plugins know of those that the plan has (`orchestrator/secrets.py`).
    """
    routes: dict[str, tuple[Route, ...]] = {}
    for hook, pipelines in plans.items():
        loom = _Loom(hook, generations, config_ids, breakers, draw)
        routes[hook] = tuple(_route(plan, loom, origin, revision) for plan in pipelines)
    return routes


def _route(plan: PipelinePlan, loom: _Loom, origin: str, revision: int) -> Route:
    shape = Shape.of(
        [stage.needs for stage in plan.stages],
        compensated=frozenset(stage.index for stage in plan.stages if stage.undo is not None),
        finals=bool(plan.finals),
        lasting=plan.durable or plan.confirm_seconds is not None,
    )
    wires = tuple(loom.wire(stage) for stage in plan.stages)
    finals = tuple(loom.wire(stage, b"/finally/") for stage in plan.finals)
    signs = any(stage.signs for stage in plan.stages)
    return Route(plan, shape, wires, finals, origin if plan.durable else "", revision, signs)
