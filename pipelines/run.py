"""One run as a pure state machine: (state, event) -> (state, commands).

The machine knows the shape of the DAG, where each stage stands, what effect it had and whether that was undone. What a
stage answered, what it may change and whether its condition holds is judged by whoever performs the commands; the
machine is told the outcome. Time enters only inside events. Illegal events raise and change nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from pipelines.plan import Need, StageState

__all__ = [
    "BEGIN",
    "MACHINE_VERSION",
    "PHASES",
    "UNDO_TABLE",
    "Answered",
    "Cancel",
    "Close",
    "Command",
    "Compensate",
    "Confirmed",
    "Effect",
    "Event",
    "Finals",
    "FinalsEnded",
    "Finish",
    "Halt",
    "IllegalEvent",
    "Invoke",
    "Parked",
    "Phase",
    "Resume",
    "Revoke",
    "RunState",
    "Settled",
    "Shape",
    "Undo",
    "Undone",
    "advance",
    "outstanding",
    "phase_diagram",
    "undo_diagram",
]

MACHINE_VERSION = 1
"""Counts up when the same events lead somewhere else; a run begun under another version is not replayed."""

PENDING, RUNNING = StageState.PENDING, StageState.RUNNING
SUCCEEDED, SKIPPED, CANCELLED = StageState.SUCCEEDED, StageState.SKIPPED, StageState.CANCELLED
DENIED, FAILED = StageState.DENIED, StageState.FAILED


class Effect(enum.Enum):
    """What a stage did to the world: the worst that is known of its attempts."""

    NONE = "none"
    DONE = "done"
    UNKNOWN = "unknown"


class Undo(enum.Enum):
    """Where the compensation of a stage stands."""

    NONE = "none"
    RUNNING = "running"
    DONE = "done"
    PARKED = "parked"


class Phase(enum.Enum):
    """Where a whole run stands."""

    RUNNING = "running"
    DECIDED = "decided"
    CONFIRMING = "confirming"
    UNDOING = "undoing"
    FINISHING = "finishing"
    OVER = "over"


# Looked up on its class a member of an Enum costs as much as a comparison.
_GOING, _DECIDED, _OVER, _NO_EFFECT = Phase.RUNNING, Phase.DECIDED, Phase.OVER, Effect.NONE


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


class Compensate(NamedTuple):
    """Undo the stage; all that came after it and had to be undone is."""

    stage: int


class Finals(NamedTuple):
    """Perform what the pipeline does `finally`."""


class Close(NamedTuple):
    """Nothing is left to do."""


Command = Invoke | Cancel | Finish | Compensate | Finals | Close

_ALLOWED = (Finish(denied=False, by=-1),)
_CLOSED = (Close(),)
_FINALS = (Finals(),)


class Begin(enum.Enum):
    """The one event that starts a run."""

    BEGIN = "begin"


BEGIN = Begin.BEGIN


class Settled(NamedTuple):
    """A stage that was taken up has come to its end."""

    stage: int
    state: StageState
    effect: Effect = Effect.NONE


class Halt(NamedTuple):
    """The run must end now, denied: its caller went away or the host stops."""


class Answered(NamedTuple):
    """The verdict is settled: `denied` is what the caller is told. `awaits`: what was allowed is not final before
    `Confirmed` or `Revoke`, because the caller must confirm it or another pipeline of the hook may still deny.
    """

    denied: bool
    awaits: bool = False


class Confirmed(NamedTuple):
    """The caller did what the verdict allowed."""


class Revoke(NamedTuple):
    """What the run did must be undone although it was allowed: never confirmed, never delivered, or asked for."""


class Undone(NamedTuple):
    """The compensation of a stage is done."""

    stage: int


class Parked(NamedTuple):
    """The compensation of a stage is given up and left to a human."""

    stage: int


class Resume(NamedTuple):
    """Try the parked compensations again."""


class FinalsEnded(NamedTuple):
    """What the pipeline does `finally` is done, well or not."""


Event = Begin | Settled | Halt | Answered | Confirmed | Revoke | Undone | Parked | Resume | FinalsEnded

PHASES: Mapping[Phase, Mapping[type, tuple[Phase, ...]]] = MappingProxyType(
    {
        Phase.RUNNING: MappingProxyType(
            {
                Begin: (Phase.RUNNING, Phase.DECIDED, Phase.OVER),
                Settled: (Phase.RUNNING, Phase.DECIDED, Phase.OVER),
                Halt: (Phase.DECIDED, Phase.OVER),
            }
        ),
        Phase.DECIDED: MappingProxyType(
            {Answered: (Phase.CONFIRMING, Phase.UNDOING, Phase.FINISHING, Phase.OVER)},
        ),
        Phase.CONFIRMING: MappingProxyType(
            {
                Confirmed: (Phase.UNDOING, Phase.FINISHING, Phase.OVER),
                Revoke: (Phase.UNDOING, Phase.FINISHING, Phase.OVER),
            }
        ),
        Phase.UNDOING: MappingProxyType(
            {
                Undone: (Phase.UNDOING, Phase.FINISHING, Phase.OVER),
                Parked: (Phase.UNDOING, Phase.FINISHING, Phase.OVER),
                Revoke: (Phase.UNDOING,),
            }
        ),
        Phase.FINISHING: MappingProxyType({FinalsEnded: (Phase.OVER,)}),
        Phase.OVER: MappingProxyType(
            {Revoke: (Phase.UNDOING, Phase.OVER), Resume: (Phase.UNDOING, Phase.OVER)},
        ),
    }
)
"""Which events a run takes in each phase, and where they may lead. A run without effects, confirmation, journal and
`finally` is over when it is decided."""

UNDO_TABLE: Mapping[Undo, Mapping[str, Undo]] = MappingProxyType(
    {
        Undo.NONE: MappingProxyType({"compensate": Undo.RUNNING, "wait for a parked one": Undo.PARKED}),
        Undo.RUNNING: MappingProxyType({"undone": Undo.DONE, "parked": Undo.PARKED}),
        Undo.DONE: MappingProxyType({}),
        Undo.PARKED: MappingProxyType({"resume": Undo.NONE}),
    }
)


class RunState(NamedTuple):
    """Where a run stands. `open` counts the stages that are not final; `effects` and `undos` are empty where the
    shape compensates nothing. `unwinds`: every effect must be undone, not only those of unknown outcome.
    `finished`: `finally` was performed.
    """

    stages: tuple[StageState, ...]
    open: int
    phase: Phase = Phase.RUNNING
    effects: tuple[Effect, ...] = ()
    undos: tuple[Undo, ...] = ()
    unwinds: bool = False
    finished: bool = False

    @property
    def decided(self) -> bool:
        """Whether the verdict can change no more."""
        return self.phase is not Phase.RUNNING

    @property
    def parked(self) -> bool:
        """Whether a compensation was left to a human."""
        return Undo.PARKED in self.undos


@dataclass(frozen=True, slots=True)
class Shape:
    """The DAG of a pipeline: the needs of each stage, for each stage those that need it, and what follows a verdict.

    `later` has the bit `1 << index` of every stage that comes after it, directly or not; it is there where something is
    compensated. Every run begins alike, so `initial` and what follows from `BEGIN`, `opening`, are made once.
    """

    needs: tuple[tuple[Need, ...], ...]
    dependents: tuple[tuple[int, ...], ...]
    initial: RunState
    opening: tuple[RunState, Sequence[Command]]
    compensated: frozenset[int] = frozenset()
    later: tuple[int, ...] = ()
    finals: bool = False
    lasting: bool = False

    @classmethod
    def of(
        cls,
        needs: Sequence[tuple[Need, ...]],
        *,
        compensated: frozenset[int] = frozenset(),
        finals: bool = False,
        lasting: bool = False,
    ) -> Shape:
        """Derive the rest from the needs; stages are in topological order.

        `lasting` says that the run goes on after its verdict whatever else it has to do.
        """
        dependents: list[list[int]] = [[] for _ in needs]
        for stage, edges in enumerate(needs):
            for need in edges:
                dependents[need.stage].append(stage)
        later = _later(dependents) if compensated else ()
        lasting = lasting or finals or bool(compensated)
        initial = RunState((PENDING,) * len(needs), len(needs))
        if compensated:
            initial = initial._replace(effects=(Effect.NONE,) * len(needs), undos=(Undo.NONE,) * len(needs))
        return cls(
            tuple(needs),
            tuple(map(tuple, dependents)),
            initial,
            _opening(needs, initial, lasting),
            compensated,
            later,
            finals,
            lasting,
        )


def _later(dependents: Sequence[Sequence[int]]) -> tuple[int, ...]:
    later = [0] * len(dependents)
    for stage in reversed(range(len(dependents))):
        for other in dependents[stage]:
            later[stage] |= later[other] | 1 << other
    return tuple(later)


def _opening(needs: Sequence[tuple[Need, ...]], initial: RunState, lasting: bool) -> tuple[RunState, Sequence[Command]]:
    if not needs:
        return initial._replace(phase=Phase.DECIDED if lasting else Phase.OVER), _ALLOWED
    stages = tuple(PENDING if edges else RUNNING for edges in needs)
    commands = tuple(Invoke(stage, -1) for stage, edges in enumerate(needs) if not edges)
    return initial._replace(stages=stages), commands


def advance(shape: Shape, state: RunState, event: Event) -> tuple[RunState, Sequence[Command]]:
    """Follow one event. Raises IllegalEvent when the run or the stage is not where the event says it is."""
    if state.phase is _GOING:
        if type(event) is Settled:
            return _settle(shape, state, event)
        if event is BEGIN:
            if state != shape.initial:
                raise IllegalEvent("the run has begun already")
            return shape.opening
        if type(event) is Halt:
            return _end(shape, state, list(state.stages), list(state.effects), -1)
    if type(event) not in PHASES[state.phase]:
        raise IllegalEvent(f"{event} while the run is {state.phase.value}")
    return _follow(shape, state, event)


# Until the verdict.


def _settle(shape: Shape, state: RunState, event: Settled) -> tuple[RunState, Sequence[Command]]:
    if not 0 <= event.stage < len(state.stages) or state.stages[event.stage] is not RUNNING:
        raise IllegalEvent(f"stage {event.stage} is not running")
    if event.state is PENDING or event.state is RUNNING or event.state is CANCELLED:
        raise IllegalEvent(f"a stage does not settle as {event.state.value}")
    stages = list(state.stages)
    stages[event.stage] = event.state
    effects = state.effects
    if effects and event.effect is not _NO_EFFECT and event.stage in shape.compensated:
        effects = (*effects[: event.stage], event.effect, *effects[event.stage + 1 :])
    if event.state is DENIED or event.state is FAILED:
        return _end(shape, state, stages, list(effects), event.stage)
    commands: list[Command] = []
    for stage in shape.dependents[event.stage]:
        needs = shape.needs[stage]
        if stages[stage] is PENDING and _all_final(needs, stages):
            stages[stage] = RUNNING
            commands.append(Invoke(stage, _unmet(needs, stages)))
    if state.open == 1:
        phase = _DECIDED if shape.lasting else _OVER
        return RunState(tuple(stages), 0, phase, effects, state.undos), _ALLOWED
    return RunState(tuple(stages), state.open - 1, _GOING, effects, state.undos), commands


def _all_final(needs: tuple[Need, ...], stages: list[StageState]) -> bool:
    return all(stages[need.stage] is not PENDING and stages[need.stage] is not RUNNING for need in needs)


def _unmet(needs: tuple[Need, ...], stages: Sequence[StageState]) -> int:
    for need in needs:
        state = stages[need.stage]
        if need.states is None:
            # The payload passes through a stage that was skipped. Compared one by one: hashing an Enum is slow.
            if state is not SUCCEEDED and state is not SKIPPED:
                return need.stage
        elif state not in need.states:
            return need.stage
    return -1


def _end(
    shape: Shape, state: RunState, stages: list[StageState], effects: list[Effect], by: int
) -> tuple[RunState, Sequence[Command]]:
    commands: list[Command] = []
    for stage, stands in enumerate(stages):
        if stands is RUNNING:
            commands.append(Cancel(stage))
            if stage in shape.compensated:
                effects[stage] = Effect.UNKNOWN  # nobody will hear what came of it
        if stands is RUNNING or stands is PENDING:
            stages[stage] = CANCELLED
    phase = _DECIDED if shape.lasting else _OVER
    ended = RunState(tuple(stages), 0, phase, tuple(effects), state.undos)
    return ended, [*commands, Finish(denied=True, by=by)]


# After the verdict.


def _follow(shape: Shape, state: RunState, event: Event) -> tuple[RunState, Sequence[Command]]:
    match event:
        case Answered(denied, awaits):
            answered = state._replace(unwinds=denied)
            if awaits and not denied:
                return answered._replace(phase=Phase.CONFIRMING), ()
            return _unwind(shape, answered)
        case Confirmed():
            return _unwind(shape, state)
        case Revoke():
            return _unwind(shape, state._replace(unwinds=True))
        case Undone(stage):
            return _unwind(shape, _undo(state, stage, "undone"))
        case Parked(stage):
            return _unwind(shape, _undo(state, stage, "parked"))
        case Resume():
            undos = tuple(UNDO_TABLE[undo].get("resume", undo) for undo in state.undos)
            return _unwind(shape, state._replace(undos=undos))
        case _:
            return state._replace(phase=Phase.OVER, finished=True), _CLOSED


def _undo(state: RunState, stage: int, what: str) -> RunState:
    undo = UNDO_TABLE[state.undos[stage]].get(what) if 0 <= stage < len(state.undos) else None
    if undo is None:
        raise IllegalEvent(f"the compensation of stage {stage} is not running")
    return _with_undo(state, stage, undo)


def _with_undo(state: RunState, stage: int, undo: Undo) -> RunState:
    return state._replace(undos=(*state.undos[:stage], undo, *state.undos[stage + 1 :]))


def _owed(shape: Shape, state: RunState) -> Iterator[int]:
    """The stages whose effect must be undone, the last first. An effect of unknown outcome is never kept."""
    for stage in sorted(shape.compensated, reverse=True):
        effect = state.effects[stage]
        if effect is Effect.UNKNOWN or (state.unwinds and effect is Effect.DONE):
            yield stage


def _unwind(shape: Shape, state: RunState) -> tuple[RunState, Sequence[Command]]:
    """Begin every compensation that waits for none of a later stage; when none is left to wait for, go on."""
    commands: list[Command] = []
    unsettled = parked = 0
    for stage in _owed(shape, state):
        later = shape.later[stage]
        if state.undos[stage] is Undo.NONE and later & parked:
            state = _with_undo(state, stage, UNDO_TABLE[Undo.NONE]["wait for a parked one"])
        elif state.undos[stage] is Undo.NONE and not later & unsettled:
            state = _with_undo(state, stage, UNDO_TABLE[Undo.NONE]["compensate"])
            commands.append(Compensate(stage))
        undo = state.undos[stage]
        unsettled |= (undo is Undo.NONE or undo is Undo.RUNNING) << stage
        parked |= (undo is Undo.PARKED) << stage
    if unsettled:
        return state._replace(phase=Phase.UNDOING), commands
    if shape.finals and not state.finished:
        return state._replace(phase=Phase.FINISHING), _FINALS
    return state._replace(phase=Phase.OVER), _CLOSED


def outstanding(shape: Shape, state: RunState) -> Sequence[Command]:
    """The commands whose outcome the run waits for: what a host that takes it up again has to perform anew."""
    match state.phase:
        case Phase.RUNNING:
            taken_up = (stage for stage, stands in enumerate(state.stages) if stands is RUNNING)
            return [Invoke(stage, _unmet(shape.needs[stage], state.stages)) for stage in taken_up]
        case Phase.UNDOING:
            return [Compensate(stage) for stage, undo in enumerate(state.undos) if undo is Undo.RUNNING]
        case Phase.FINISHING:
            return _FINALS
        case _:
            return ()


# Pictures.


def phase_diagram() -> str:
    """Draw PHASES in Mermaid's state diagram language; docs/resilience.md holds the result."""
    lines = ["stateDiagram-v2", "    [*] --> running"]
    for phase, row in PHASES.items():
        for event, ends in row.items():
            word = _words(event.__name__)
            lines += [f"    {phase.value} --> {end.value}: {word}" for end in ends if end is not phase]
    return "\n".join([*lines, "    over --> [*]"])


def _words(name: str) -> str:
    """`FinalsEnded` as `finals ended`."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


def undo_diagram() -> str:
    """Draw UNDO_TABLE in the same language."""
    lines = ["stateDiagram-v2", "    [*] --> none"]
    for undo, row in UNDO_TABLE.items():
        lines += [f"    {undo.value} --> {after.value}: {word}" for word, after in row.items()]
    return "\n".join([*lines, "    done --> [*]"])
