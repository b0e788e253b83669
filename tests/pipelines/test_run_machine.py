"""The run machine over random graphs: every stage ends once, needs hold, the first denial wins, nothing else moves."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.plan import Need, StageState
from pipelines.run import (
    BEGIN,
    Cancel,
    Command,
    Event,
    Finish,
    Halt,
    IllegalEvent,
    Invoke,
    RunState,
    Settled,
    Shape,
    advance,
)

PENDING, RUNNING, CANCELLED = StageState.PENDING, StageState.RUNNING, StageState.CANCELLED
FINAL = frozenset(StageState) - {PENDING, RUNNING}
SETTLING = (StageState.SUCCEEDED, StageState.SKIPPED, StageState.DENIED, StageState.FAILED)
MILD = (StageState.SUCCEEDED, StageState.SKIPPED)
IS = st.none() | st.frozensets(st.sampled_from(sorted(FINAL, key=lambda state: state.value)), min_size=1)


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[Need, ...]]:
    """Stages in topological order; a need may be named twice, plain and with `is`."""
    count = draw(st.integers(0, 7))
    return [
        tuple(Need(draw(st.integers(0, stage - 1)), draw(IS)) for _ in range(draw(st.integers(0, 3)) if stage else 0))
        for stage in range(count)
    ]


@dataclass
class Watched:
    """A run whose every command is noted."""

    shape: Shape
    state: RunState = field(init=False)
    invoked: dict[int, int] = field(default_factory=dict)
    cancelled: list[int] = field(default_factory=list)
    finishes: list[Finish] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = self.shape.initial

    def tell(self, event: Event) -> list[Command]:
        before = self.state
        self.state, commands = advance(self.shape, before, event)
        assert advance(self.shape, before, event) == (self.state, commands), "the same input gave something else"
        for command in commands:
            if isinstance(command, Invoke):
                assert command.stage not in self.invoked, "a stage was taken up twice"
                self.invoked[command.stage] = command.unmet
            elif isinstance(command, Cancel):
                self.cancelled.append(command.stage)
            else:
                assert isinstance(command, Finish), "a run without effects has nothing else to do"
                self.finishes.append(command)
        return list(commands)

    @property
    def running(self) -> list[int]:
        return [stage for stage, state in enumerate(self.state.stages) if state is RUNNING]


def unmet(need: Need, stages: tuple[StageState, ...]) -> bool:
    return stages[need.stage] not in (need.states if need.states is not None else MILD)


@given(graphs(), st.data())
def test_every_stage_ends_exactly_once_and_no_need_is_passed_over(
    needs: list[tuple[Need, ...]], data: st.DataObject
) -> None:
    run = Watched(Shape.of(needs))
    run.tell(BEGIN)
    while not run.state.decided:
        for stage in run.running:
            assert all(run.state.stages[need.stage] in FINAL for need in needs[stage])
            expected = next((need.stage for need in needs[stage] if unmet(need, run.state.stages)), -1)
            assert run.invoked[stage] == expected
        assert run.running, "a run that nothing moves any more"
        stage = data.draw(st.sampled_from(run.running))
        state = data.draw(st.sampled_from(MILD if data.draw(st.integers(0, 9)) else SETTLING))
        others = [other for other in run.running if other != stage]
        run.tell(Settled(stage, state))
        assert run.state.stages[stage] is state
        if state in (StageState.DENIED, StageState.FAILED):
            assert run.cancelled == others
            assert run.finishes == [Finish(denied=True, by=stage)]
    assert all(state in FINAL for state in run.state.stages)
    assert len(run.finishes) == 1
    assert run.finishes[0].denied == any(state in (StageState.DENIED, StageState.FAILED) for state in run.state.stages)
    if not run.finishes[0].denied:
        assert set(run.invoked) == set(range(len(needs)))
        assert not run.cancelled


@given(graphs(), st.data())
def test_a_halt_at_any_moment_cancels_what_runs_and_denies(needs: list[tuple[Need, ...]], data: st.DataObject) -> None:
    run = Watched(Shape.of(needs))
    for _ in range(data.draw(st.integers(0, 4))):
        if run.state.decided:
            return
        run.tell(Settled(run.running[0], StageState.SUCCEEDED) if run.running else BEGIN)
    if run.state.decided:
        return
    running = run.running
    run.tell(Halt())
    assert run.cancelled == running
    assert run.finishes == [Finish(denied=True, by=-1)]
    assert all(state in FINAL for state in run.state.stages)


@given(graphs(), st.data())
def test_an_illegal_event_raises_and_changes_nothing(needs: list[tuple[Need, ...]], data: st.DataObject) -> None:
    run = Watched(Shape.of(needs))
    run.tell(BEGIN)
    for _ in range(data.draw(st.integers(0, 8))):
        if not run.running:
            break
        run.tell(Settled(run.running[-1], data.draw(st.sampled_from(SETTLING))))
    before = run.state
    events: list[Event] = [Settled(stage, state) for stage in range(-2, len(needs) + 2) for state in StageState]
    for event in [BEGIN, *events]:
        legal = (
            isinstance(event, Settled) and not before.decided and event.stage in run.running and event.state in SETTLING
        )
        if not legal:
            with pytest.raises(IllegalEvent):
                advance(run.shape, before, event)
    if before.decided:
        with pytest.raises(IllegalEvent):
            advance(run.shape, before, Halt())
    assert run.state == before


def test_a_run_without_stages_is_over_at_once() -> None:
    run = Watched(Shape.of([]))
    assert run.tell(BEGIN) == [Finish(denied=False, by=-1)]
    assert run.state.decided


def test_stages_that_do_not_need_each_other_are_taken_up_together() -> None:
    run = Watched(Shape.of([(), (Need(0),), (Need(0),), (Need(1), Need(2))]))
    assert run.tell(BEGIN) == [Invoke(0, -1)]
    assert run.tell(Settled(0, StageState.SUCCEEDED)) == [Invoke(1, -1), Invoke(2, -1)]
    assert run.tell(Settled(2, StageState.SKIPPED)) == []
    assert run.tell(Settled(1, StageState.SUCCEEDED)) == [Invoke(3, -1)]
    assert run.tell(Settled(3, StageState.SUCCEEDED)) == [Finish(denied=False, by=-1)]


def test_a_stage_that_was_never_taken_up_is_cancelled_without_a_command() -> None:
    run = Watched(Shape.of([(), (), (Need(0),)]))
    run.tell(BEGIN)
    assert run.tell(Settled(0, StageState.DENIED)) == [Cancel(1), Finish(denied=True, by=0)]
    assert run.state.stages == (StageState.DENIED, CANCELLED, CANCELLED)
    assert PENDING not in run.state.stages
