"""The run machine after its verdict: what is undone, in which order, what stays parked, what comes last and once.

Small shapes are walked whole, every event in every state; large ones by chance.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.plan import Need, StageState
from pipelines.run import (
    BEGIN,
    PHASES,
    UNDO_TABLE,
    Answered,
    Cancel,
    Close,
    Command,
    Compensate,
    Confirmed,
    Effect,
    Event,
    Finals,
    FinalsEnded,
    Finish,
    Halt,
    IllegalEvent,
    Invoke,
    Parked,
    Phase,
    Resume,
    Revoke,
    RunState,
    Settled,
    Shape,
    Undo,
    Undone,
    advance,
    outstanding,
    phase_diagram,
    undo_diagram,
)

ENDS = (StageState.SUCCEEDED, StageState.SKIPPED, StageState.DENIED, StageState.FAILED)
SETTLED = (Undo.DONE, Undo.PARKED)
PLAIN = (Answered(denied=False), Answered(denied=False, awaits=True), Answered(denied=True), Answered(True, True))
ALONE: tuple[Event, ...] = (BEGIN, Halt(), *PLAIN, Confirmed(), Revoke(), Resume(), FinalsEnded())


def events(count: int) -> list[Event]:
    """Every event there is for so many stages, and for two that are not there."""
    places = range(-1, count + 1)
    settled = [Settled(stage, state, effect) for stage in places for state in StageState for effect in Effect]
    return [*ALONE, *settled, *map(Undone, places), *map(Parked, places)]


def is_legal(shape: Shape, state: RunState, event: Event) -> bool:
    """The rules again, written apart from the machine."""
    match event:
        case Settled(stage, end):
            running = 0 <= stage < len(state.stages) and state.stages[stage] is StageState.RUNNING
            return state.phase is Phase.RUNNING and running and end in ENDS
        case Undone(stage) | Parked(stage):
            running = 0 <= stage < len(state.undos) and state.undos[stage] is Undo.RUNNING
            return state.phase is Phase.UNDOING and running
    if event is BEGIN:
        return state == shape.initial
    return type(event) in PHASES[state.phase]


def after(needs: Sequence[tuple[Need, ...]], stage: int) -> set[int]:
    """Every stage that comes after another, directly or not; found by looking from the other end than the machine."""
    found: set[int] = set()
    for other in range(stage + 1, len(needs)):
        if any(need.stage == stage or need.stage in found for need in needs[other]):
            found.add(other)
    return found


def owed(shape: Shape, state: RunState) -> set[int]:
    return {
        stage
        for stage in shape.compensated
        if state.effects[stage] is Effect.UNKNOWN or (state.unwinds and state.effects[stage] is Effect.DONE)
    }


@dataclass
class Watched:
    """A run whose every move is held against the rules."""

    shape: Shape
    state: RunState = field(init=False)
    finals: int = 0
    closed: bool = False
    parked_by_event: set[int] = field(default_factory=set)
    said: dict[int, list[Effect]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = self.shape.initial

    def tell(self, event: Event) -> Sequence[Command]:
        before = self.state
        self.state, commands = advance(self.shape, before, event)
        self._note(event)
        assert self.state.phase in PHASES[before.phase][type(event)]
        for command in commands:
            match command:
                case Compensate(stage):
                    self._may_be_undone(stage, before)
                case Finals():
                    self.finals += 1
                    assert all(self.state.undos[stage] in SETTLED for stage in owed(self.shape, self.state))
                case Close():
                    assert not self.closed, "closed twice"
                    self.closed = True
                    self._nothing_is_left()
        assert self.finals <= 1
        if self.state.phase is Phase.UNDOING:
            self._all_that_can_be_undone_is_under_way()
        self._parked_are_the_given_up_and_what_came_before_them()
        return commands

    def _note(self, event: Event) -> None:
        match event:
            case Settled(stage, _, effect):
                self.said.setdefault(stage, []).append(effect)
            case Parked(stage):
                self.parked_by_event.add(stage)
            case Resume():
                self.parked_by_event.clear()
                self.closed = False
            case Revoke():
                self.closed = False

    def _may_be_undone(self, stage: int, before: RunState) -> None:
        assert stage in owed(self.shape, self.state), "undone without an effect"
        assert before.undos[stage] in (Undo.NONE, Undo.PARKED)
        assert self.state.undos[stage] is Undo.RUNNING
        for other in after(self.shape.needs, stage) & owed(self.shape, self.state):
            assert self.state.undos[other] is Undo.DONE, "undone before what came after it"

    def _all_that_can_be_undone_is_under_way(self) -> None:
        left = owed(self.shape, self.state)
        for stage in left:
            if self.state.undos[stage] is Undo.NONE:
                later = {self.state.undos[other] for other in after(self.shape.needs, stage) & left}
                assert later & {Undo.NONE, Undo.RUNNING}, "it waits for nothing"
                assert Undo.PARKED not in later
        assert Undo.RUNNING in self.state.undos, "nothing moves any more"

    def _parked_are_the_given_up_and_what_came_before_them(self) -> None:
        for stage, undo in enumerate(self.state.undos):
            behind = any(self.state.undos[other] is Undo.PARKED for other in after(self.shape.needs, stage))
            if undo is Undo.PARKED:
                assert stage in self.parked_by_event or behind
            elif stage in owed(self.shape, self.state) and behind and self.state.phase is not Phase.RUNNING:
                assert undo in (Undo.DONE, Undo.RUNNING), "it goes on before a parked one"

    def _nothing_is_left(self) -> None:
        assert self.state.phase is Phase.OVER
        assert all(self.state.undos[stage] in SETTLED for stage in owed(self.shape, self.state))
        assert self.finals == self.shape.finals
        for stage, effects in self.said.items():
            if stage in self.shape.compensated and effects[-1] is not Effect.NONE:
                assert self.state.effects[stage] is effects[-1], "an effect was forgotten"

    def legal(self) -> list[Event]:
        return [event for event in events(len(self.state.stages)) if is_legal(self.shape, self.state, event)]


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    count = draw(st.integers(0, 7))
    needs = [
        tuple(map(Need, draw(st.sets(st.integers(0, stage - 1), max_size=3)))) if stage else ()
        for stage in range(count)
    ]
    compensated = draw(st.sets(st.integers(0, count - 1))) if count else set()
    return Shape.of(needs, compensated=frozenset(compensated), finals=draw(st.booleans()), lasting=draw(st.booleans()))


@given(shapes(), st.data())
def test_whatever_happens_every_effect_is_undone_in_order_or_parked(shape: Shape, data: st.DataObject) -> None:
    run = Watched(shape)
    run.tell(BEGIN)
    for _ in range(40):
        legal: Sequence[Event] = run.legal()
        if run.state.phase is Phase.RUNNING and data.draw(st.integers(0, 9)):
            mild = [one for one in legal if isinstance(one, Settled) and one.state is StageState.SUCCEEDED]
            legal = mild or legal
        run.tell(data.draw(st.sampled_from(legal)))
    while run.state.phase is not Phase.OVER:  # it can always be brought to its end
        run.tell(next(one for one in reversed(run.legal()) if not isinstance(one, Revoke)))


@given(shapes(), st.data())
def test_a_denied_run_undoes_everything_that_was_done_and_nothing_else(shape: Shape, data: st.DataObject) -> None:
    run = Watched(shape)
    run.tell(BEGIN)
    while run.state.phase is Phase.RUNNING:
        running = [stage for stage, state in enumerate(run.state.stages) if state is StageState.RUNNING]
        effect = data.draw(st.sampled_from(Effect))
        mild = data.draw(st.integers(0, 5))
        run.tell(
            Settled(data.draw(st.sampled_from(running)), StageState.SUCCEEDED if mild else StageState.DENIED, effect)
        )
    if run.state.phase is Phase.OVER:
        return
    undone: list[int] = []
    commands = list(run.tell(Answered(denied=True)))
    while run.state.phase is Phase.UNDOING:
        under_way = [stage for stage, undo in enumerate(run.state.undos) if undo is Undo.RUNNING]
        assert {command.stage for command in commands if isinstance(command, Compensate)} <= set(under_way)
        stage = data.draw(st.sampled_from(under_way))
        undone.append(stage)
        commands = list(run.tell(Undone(stage)))
    assert sorted(undone) == [
        stage for stage in sorted(shape.compensated) if run.state.effects[stage] is not Effect.NONE
    ]
    assert commands == ([Finals()] if shape.finals else [Close()])


# Small shapes, whole.


CHAIN = [(), (Need(0),)]
BESIDE: list[tuple[Need, ...]] = [(), ()]
BOTH = frozenset({0, 1})
SMALL = [
    Shape.of(CHAIN, compensated=BOTH),
    Shape.of(CHAIN, compensated=BOTH, finals=True),
    Shape.of(BESIDE, compensated=BOTH, finals=True),
    *(
        Shape.of(needs, finals=finals, lasting=lasting)
        for needs in ((), CHAIN)
        for finals, lasting in product((False, True), repeat=2)
    ),
]


Step = tuple[RunState, Event, RunState | None]


@cache
def walk(place: int) -> list[Step]:
    """Every event in every state that a small shape can reach; None where it is refused."""
    return list(_steps(SMALL[place]))


def _steps(shape: Shape) -> Iterator[Step]:
    seen, waiting = {shape.initial}, deque([shape.initial])
    while waiting:
        state = waiting.popleft()
        for event in events(len(state.stages)):
            try:
                end, _ = advance(shape, state, event)
            except IllegalEvent:
                yield state, event, None
                continue
            yield state, event, end
            if end not in seen:
                seen.add(end)
                waiting.append(end)


def test_every_transition_of_the_tables_is_reached_and_no_other() -> None:
    phases, undos = set[tuple[Phase, type, Phase]](), set[tuple[Undo, Undo]]()
    for place in range(len(SMALL)):
        for state, event, end in walk(place):
            if end is not None:
                phases.add((state.phase, type(event), end.phase))
                if not isinstance(event, Resume):  # which takes two steps at once
                    undos |= {pair for pair in zip(state.undos, end.undos, strict=True) if pair[0] is not pair[1]}
    listed = {(phase, event, end) for phase, row in PHASES.items() for event, ends in row.items() for end in ends}
    assert phases == listed
    resumed = {(Undo.PARKED, Undo.NONE)}
    assert undos | resumed == {(undo, end) for undo, row in UNDO_TABLE.items() for end in row.values()}


@pytest.mark.parametrize("place", range(len(SMALL)))
def test_every_pair_of_state_and_event_is_legal_or_raises(place: int) -> None:
    shape = SMALL[place]
    for state, event, end in walk(place):
        assert (end is not None) == is_legal(shape, state, event), (state, event)


def test_every_phase_refuses_what_its_row_does_not_name() -> None:
    """The product of phases and kinds of events, each pair met somewhere."""
    met = {(state.phase, type(event)) for place in range(len(SMALL)) for state, event, _ in walk(place)}
    assert met == {(phase, type(event)) for phase in Phase for event in events(1)}


def test_a_resume_tries_every_parked_one_again_in_order() -> None:
    run = Watched(Shape.of([(), (Need(0),), (Need(0),)], compensated=frozenset({0, 1, 2}), finals=True))
    run.tell(BEGIN)
    for stage in range(3):
        run.tell(Settled(stage, StageState.SUCCEEDED, Effect.DONE))
    assert list(run.tell(Answered(denied=True))) == [Compensate(2), Compensate(1)]
    assert list(run.tell(Parked(1))) == []
    assert list(run.tell(Undone(2))) == [Finals()], "a parked undo keeps nobody waiting"
    assert run.state.undos == (Undo.PARKED, Undo.PARKED, Undo.DONE)
    assert list(run.tell(FinalsEnded())) == [Close()]
    assert list(run.tell(Resume())) == [Compensate(1)]
    assert list(run.tell(Undone(1))) == [Compensate(0)]
    assert list(run.tell(Undone(0))) == [Close()], "`finally` is performed once"


def test_a_parked_one_blocks_those_before_it_and_no_other() -> None:
    needs = [(), (Need(0),), (), (Need(2),)]
    run = Watched(Shape.of(needs, compensated=frozenset({0, 1, 2, 3})))
    run.tell(BEGIN)
    for stage in (0, 1, 2, 3):
        run.tell(Settled(stage, StageState.SUCCEEDED, Effect.DONE))
    run.tell(Answered(denied=True))
    assert list(run.tell(Parked(1))) == []
    assert list(run.tell(Undone(3))) == [Compensate(2)]
    assert list(run.tell(Undone(2))) == [Close()]
    assert run.state.undos == (Undo.PARKED, Undo.PARKED, Undo.DONE, Undo.DONE)


def test_what_was_allowed_is_kept_by_a_confirmation_and_undone_by_a_revocation() -> None:
    for event, expected in ((Confirmed(), [Close()]), (Revoke(), [Compensate(0)])):
        run = Watched(Shape.of([()], compensated=frozenset({0})))
        run.tell(BEGIN)
        run.tell(Settled(0, StageState.SUCCEEDED, Effect.DONE))
        assert list(run.tell(Answered(denied=False, awaits=True))) == []
        assert list(run.tell(event)) == expected


def test_an_effect_of_unknown_outcome_is_undone_though_the_run_is_allowed() -> None:
    run = Watched(Shape.of([(), (Need(0),)], compensated=frozenset({0, 1})))
    run.tell(BEGIN)
    run.tell(Settled(0, StageState.SKIPPED, Effect.UNKNOWN))
    run.tell(Settled(1, StageState.SUCCEEDED, Effect.DONE))
    assert list(run.tell(Answered(denied=False, awaits=True))) == [], "not before it is clear what becomes of the rest"
    assert list(run.tell(Confirmed())) == [Compensate(0)]
    assert list(run.tell(Undone(0))) == [Close()]
    assert run.state.undos == (Undo.DONE, Undo.NONE)


def test_a_run_that_was_confirmed_can_be_undone_later() -> None:
    run = Watched(Shape.of([(), (Need(0),)], compensated=frozenset({0, 1}), finals=True))
    run.tell(BEGIN)
    for stage in range(2):
        run.tell(Settled(stage, StageState.SUCCEEDED, Effect.DONE))
    run.tell(Answered(denied=False, awaits=True))
    assert list(run.tell(Confirmed())) == [Finals()]
    run.tell(FinalsEnded())
    assert list(run.tell(Revoke())) == [Compensate(1)]
    assert list(run.tell(Undone(1))) == [Compensate(0)]
    assert list(run.tell(Undone(0))) == [Close()]


@given(shapes(), st.data())
def test_what_is_outstanding_is_what_was_commanded_and_not_heard_of(shape: Shape, data: st.DataObject) -> None:
    """So a host that takes a run up again performs exactly what its predecessor owed."""
    run = Watched(shape)
    waits: list[Command] = []
    event: Event = BEGIN
    for _ in range(30):
        waits = [one for one in waits if not _ends(one, event)]
        waits += [one for one in run.tell(event) if not isinstance(one, Finish | Close | Cancel)]
        if run.state.decided:
            waits = [one for one in waits if not isinstance(one, Invoke)]
        assert sorted(map(repr, outstanding(shape, run.state))) == sorted(map(repr, waits))
        event = data.draw(st.sampled_from(run.legal()))


def _ends(command: Command, event: Event) -> bool:
    match command, event:
        case (Invoke(stage), Settled(other)) | (Compensate(stage), Undone(other) | Parked(other)):
            return stage == other
        case (Finals(), FinalsEnded()):
            return True
    return False


# The pictures.


def words(name: str) -> str:
    return re.sub("(?<=.)(?=[A-Z])", " ", name).lower()


def test_the_diagrams_show_every_transition_once() -> None:
    arrows = [line.strip() for line in phase_diagram().splitlines() if "-->" in line]
    moves = [
        f"{phase.value} --> {end.value}: {words(event.__name__)}"
        for phase, row in PHASES.items()
        for event, ends in row.items()
        for end in ends
        if end is not phase
    ]
    assert sorted(arrows) == sorted([*moves, "[*] --> running", "over --> [*]"])
    undo_arrows = [line.strip() for line in undo_diagram().splitlines() if "-->" in line]
    undo_moves = [
        f"{undo.value} --> {end.value}: {word}" for undo, row in UNDO_TABLE.items() for word, end in row.items()
    ]
    assert sorted(undo_arrows) == sorted([*undo_moves, "[*] --> none", "done --> [*]"])
