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
]

PENDING, RUNNING = StageState.PENDING, StageState.RUNNING
SUCCEEDED, SKIPPED, CANCELLED = StageState.SUCCEEDED, StageState.SKIPPED, StageState.CANCELLED
DENIED, FAILED = StageState.DENIED, StageState.FAILED

FINAL = frozenset(StageState) - {PENDING, RUNNING}


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

_ALLOWED = (Finish(denied=False, by=-1),)


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
    """Where a run stands: the state of each stage, how many are not final, and whether its verdict is settled."""

    stages: tuple[StageState, ...]
    open: int
    decided: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """The DAG of a pipeline: the needs of each stage, and for each stage those that need it.

    Every run begins alike, so `initial` and what follows from `BEGIN`, `opening`, are made once.
    """

    needs: tuple[tuple[Need, ...], ...]
    dependents: tuple[tuple[int, ...], ...]
    initial: RunState
    opening: tuple[RunState, Sequence[Command]]

    @classmethod
    def of(cls, needs: Sequence[tuple[Need, ...]]) -> Shape:
        """Derive the dependents from the needs; stages are in topological order."""
        dependents: list[list[int]] = [[] for _ in needs]
        for stage, edges in enumerate(needs):
            for need in edges:
                dependents[need.stage].append(stage)
        initial = RunState((PENDING,) * len(needs), len(needs), decided=False)
        return cls(tuple(needs), tuple(map(tuple, dependents)), initial, _opening(needs))


def _opening(needs: Sequence[tuple[Need, ...]]) -> tuple[RunState, Sequence[Command]]:
    if not needs:
        return RunState((), 0, decided=True), (Finish(denied=False, by=-1),)
    stages = tuple(PENDING if edges else RUNNING for edges in needs)
    commands = tuple(Invoke(stage, -1) for stage, edges in enumerate(needs) if not edges)
    return RunState(stages, len(needs), decided=False), commands


def advance(shape: Shape, state: RunState, event: Event) -> tuple[RunState, Sequence[Command]]:
    """Follow one event. Raises IllegalEvent when the run or the stage is not where the event says it is."""
    if state.decided:
        raise IllegalEvent(f"{event} after the verdict")
    if type(event) is Settled:
        return _settle(shape, state, event)
    if event is BEGIN:
        if state != shape.initial:
            raise IllegalEvent("the run has begun already")
        return shape.opening
    return _end(list(state.stages), -1)


def _settle(shape: Shape, state: RunState, event: Settled) -> tuple[RunState, Sequence[Command]]:
    if not 0 <= event.stage < len(state.stages) or state.stages[event.stage] is not RUNNING:
        raise IllegalEvent(f"stage {event.stage} is not running")
    if event.state is PENDING or event.state is RUNNING or event.state is CANCELLED:
        raise IllegalEvent(f"a stage does not settle as {event.state.value}")
    stages = list(state.stages)
    stages[event.stage] = event.state
    if event.state is DENIED or event.state is FAILED:
        return _end(stages, event.stage)
    commands: list[Command] = []
    for stage in shape.dependents[event.stage]:
        needs = shape.needs[stage]
        if stages[stage] is PENDING and _all_final(needs, stages):
            stages[stage] = RUNNING
            commands.append(Invoke(stage, _unmet(needs, stages)))
    if state.open == 1:
        return RunState(tuple(stages), 0, decided=True), _ALLOWED
    return RunState(tuple(stages), state.open - 1, decided=False), commands


def _all_final(needs: tuple[Need, ...], stages: list[StageState]) -> bool:
    return all(stages[need.stage] is not PENDING and stages[need.stage] is not RUNNING for need in needs)


def _unmet(needs: tuple[Need, ...], stages: list[StageState]) -> int:
    for need in needs:
        state = stages[need.stage]
        if need.states is None:
            # The payload passes through a stage that was skipped. Compared one by one: hashing an Enum is slow.
            if state is not SUCCEEDED and state is not SKIPPED:
                return need.stage
        elif state not in need.states:
            return need.stage
    return -1


def _end(stages: list[StageState], by: int) -> tuple[RunState, Sequence[Command]]:
    commands: list[Command] = []
    for stage, state in enumerate(stages):
        if state is RUNNING:
            commands.append(Cancel(stage))
        if state is RUNNING or state is PENDING:
            stages[stage] = CANCELLED
    return RunState(tuple(stages), 0, decided=True), [*commands, Finish(denied=True, by=by)]
