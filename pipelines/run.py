"""One run as a pure state machine: (state, event) -> (state, commands).

The machine knows the shape of the DAG and where each stage stands. What a stage answered, what it may change and
whether its condition holds is judged by whoever performs the commands; the machine is told the outcome.
Illegal events raise and change nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.plan import Need, StageState

__all__ = [
    "BEGIN",
    "FINAL",
    "Cancel",
    "Command",
    "Event",
    "Finish",
    "Halt",
    "IllegalEvent",
    "Invoke",
    "RunState",
    "Settled",
    "Shape",
    "advance",
    "initial",
]

PENDING, RUNNING = StageState.PENDING, StageState.RUNNING
SUCCEEDED, SKIPPED, CANCELLED = StageState.SUCCEEDED, StageState.SKIPPED, StageState.CANCELLED

FINAL = frozenset(StageState) - {PENDING, RUNNING}
PASSING = frozenset({SUCCEEDED, SKIPPED})
"""A plain need is met by these: the payload passes through."""

ENDING = frozenset({StageState.DENIED, StageState.FAILED})
"""A stage that ends in one of these ends the run with a denial."""


class IllegalEvent(Exception):
    """The event does not fit the state of the run."""


class Invoke(NamedTuple):
    """Take the stage up; its needs are final. `unmet` is the index of a need that is not met, or -1."""

    stage: int
    unmet: int


class Cancel(NamedTuple):
    """Nobody waits for the stage any more."""

    stage: int


class Finish(NamedTuple):
    """The run is decided. `by` is the stage that denied or failed, -1 when none did."""

    denied: bool
    by: int


Command = Invoke | Cancel | Finish


class _Begin(enum.Enum):
    BEGIN = "begin"


BEGIN = _Begin.BEGIN


class Settled(NamedTuple):
    """A stage that was taken up has come to its end."""

    stage: int
    state: StageState


class Halt(NamedTuple):
    """The run must end now, denied: its caller went away or the host stops."""


Event = _Begin | Settled | Halt


class RunState(NamedTuple):
    """Where a run stands: the state of each stage, and whether its verdict is settled."""

    stages: tuple[StageState, ...]
    decided: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """The DAG of a pipeline: the needs of each stage, and for each stage those that need it."""

    needs: tuple[tuple[Need, ...], ...]
    dependents: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, needs: Sequence[tuple[Need, ...]]) -> Shape:
        """Derive the dependents from the needs; stages are in topological order."""
        dependents: list[list[int]] = [[] for _ in needs]
        for stage, edges in enumerate(needs):
            for need in edges:
                dependents[need.stage].append(stage)
        return cls(tuple(needs), tuple(map(tuple, dependents)))


def initial(shape: Shape) -> RunState:
    """Every stage pending, nothing decided."""
    return RunState((PENDING,) * len(shape.needs), decided=False)


def advance(shape: Shape, state: RunState, event: Event) -> tuple[RunState, list[Command]]:
    """Follow one event. Raises IllegalEvent when the run or the stage is not where the event says it is."""
    if state.decided:
        raise IllegalEvent(f"{event} after the verdict")
    if type(event) is Settled:
        return _settle(shape, state, event)
    if event is BEGIN:
        return _begin(shape, state)
    return _end(list(state.stages), -1)


def _begin(shape: Shape, state: RunState) -> tuple[RunState, list[Command]]:
    if any(stage is not PENDING for stage in state.stages):
        raise IllegalEvent("the run has begun already")
    stages = list(state.stages)
    commands: list[Command] = []
    for stage, needs in enumerate(shape.needs):
        if not needs:
            stages[stage] = RUNNING
            commands.append(Invoke(stage, -1))
    if not stages:
        return RunState((), decided=True), [Finish(denied=False, by=-1)]
    return RunState(tuple(stages), decided=False), commands


def _settle(shape: Shape, state: RunState, event: Settled) -> tuple[RunState, list[Command]]:
    if not 0 <= event.stage < len(state.stages) or state.stages[event.stage] is not RUNNING:
        raise IllegalEvent(f"stage {event.stage} is not running")
    if event.state not in FINAL or event.state is CANCELLED:
        raise IllegalEvent(f"a stage does not settle as {event.state.value}")
    stages = list(state.stages)
    stages[event.stage] = event.state
    if event.state in ENDING:
        return _end(stages, event.stage)
    commands: list[Command] = []
    for stage in shape.dependents[event.stage]:
        needs = shape.needs[stage]
        if stages[stage] is PENDING and all(stages[need.stage] in FINAL for need in needs):
            stages[stage] = RUNNING
            commands.append(Invoke(stage, _unmet(needs, stages)))
    if not commands and all(stage in FINAL for stage in stages):
        return RunState(tuple(stages), decided=True), [Finish(denied=False, by=-1)]
    return RunState(tuple(stages), decided=False), commands


def _unmet(needs: tuple[Need, ...], stages: list[StageState]) -> int:
    for need in needs:
        if stages[need.stage] not in (need.states or PASSING):
            return need.stage
    return -1


def _end(stages: list[StageState], by: int) -> tuple[RunState, list[Command]]:
    commands: list[Command] = []
    for stage, state in enumerate(stages):
        if state is RUNNING:
            commands.append(Cancel(stage))
        if state is RUNNING or state is PENDING:
            stages[stage] = CANCELLED
    return RunState(tuple(stages), decided=True), [*commands, Finish(denied=True, by=by)]
