"""The rules of supervision: the table, how many ends are too many, how long to wait after each, what follows."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from isolation.protocol.life import IllegalTransition
from isolation.supervision import TABLE, Event, Intensity, RestartLog, State, Supervision, diagram, follow

STRICT = Intensity(restarts=3, period_seconds=10.0, first_seconds=0.05, longest_seconds=0.15)

LEGAL = {
    (State.STARTING, Event.READY): State.RUNNING,
    (State.STARTING, Event.GIVE_UP): State.DEGRADED,
    (State.STARTING, Event.LAST_END): State.FAILED,
    (State.STARTING, Event.RESTART): State.STARTING,
    (State.STARTING, Event.STOP): State.STOPPING,
    (State.RUNNING, Event.GIVE_UP): State.DEGRADED,
    (State.RUNNING, Event.LAST_END): State.FAILED,
    (State.RUNNING, Event.RESTART): State.STARTING,
    (State.RUNNING, Event.STOP): State.STOPPING,
    (State.DEGRADED, Event.LAST_END): State.FAILED,
    (State.DEGRADED, Event.RESTART): State.STARTING,
    (State.DEGRADED, Event.STOP): State.STOPPING,
    (State.FAILED, Event.RESTART): State.STARTING,
    (State.FAILED, Event.STOP): State.STOPPING,
    (State.STOPPING, Event.STOPPED): State.STOPPED,
}


# The table.


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair_is_in_the_table_or_an_error(state: State, event: Event) -> None:
    if (state, event) in LEGAL:
        assert follow(state, event) is LEGAL[state, event]
    else:
        with pytest.raises(IllegalTransition, match=f"{state.value} cannot take {event.value}"):
            follow(state, event)


def test_only_a_restart_leads_out_of_failed() -> None:
    assert {event for event, after in TABLE[State.FAILED].items() if after is not State.STOPPING} == {Event.RESTART}


def test_the_diagram_shows_every_transition() -> None:
    shown = [line.strip() for line in diagram().splitlines()]
    assert shown[:2] == ["stateDiagram-v2", "[*] --> starting"] and shown[-1] == "stopped --> [*]"
    arrows = {f"{state.value} --> {after.value}: {event.value}" for (state, event), after in LEGAL.items()}
    assert set(shown[2:-1]) == arrows


# Intensity and backoff.


def test_the_pause_doubles_up_to_its_longest_and_then_there_is_none() -> None:
    log = RestartLog(STRICT)
    assert [log.ended(now, planned=False) for now in (0.0, 1.0, 2.0, 3.0)] == [0.0, 0.05, 0.1, None]
    patient = RestartLog(Intensity(restarts=10, longest_seconds=0.15))
    assert [patient.ended(0.0, planned=False) for _ in range(5)] == [0.0, 0.05, 0.1, 0.15, 0.15]


def test_the_pause_grows_by_the_factor_that_was_chosen() -> None:
    log = RestartLog(Intensity(restarts=10, first_seconds=0.01, longest_seconds=1.0, factor=10.0))
    assert [log.ended(0.0, planned=False) for _ in range(5)] == [0.0, 0.01, 0.1, 1.0, 1.0]
    steady = RestartLog(Intensity(restarts=10, first_seconds=0.01, factor=1.0))
    assert [steady.ended(0.0, planned=False) for _ in range(4)] == [0.0, 0.01, 0.01, 0.01]


@pytest.mark.parametrize("factor", [2.0, 1e300])
def test_a_very_patient_intensity_stays_at_its_longest_pause(factor: float) -> None:
    log = RestartLog(Intensity(restarts=5000, factor=factor))
    assert [log.ended(0.0, planned=False) for _ in range(5000)][-1] == 5.0


def test_no_pause_at_all_can_be_asked_for() -> None:
    log = RestartLog(Intensity(restarts=5000, first_seconds=0.0))
    assert {log.ended(0.0, planned=False) for _ in range(5000)} == {0.0}


def test_only_the_ends_within_the_period_count() -> None:
    log = RestartLog(STRICT)
    for now in (0.0, 1.0, 2.0):
        log.ended(now, planned=False)
    assert log.ended(10.0, planned=False) == 0.1, "the first end is ten seconds old and forgotten"
    assert log.ended(10.5, planned=False) is None
    assert (log.recent(10.5), log.recent(11.5), log.recent(30.0)) == (4, 3, 0)


def test_planned_ends_do_not_count() -> None:
    log = RestartLog(STRICT)
    assert {log.ended(0.0, planned=True) for _ in range(100)} == {0.0}
    assert log.ended(0.0, planned=False) == 0.0


def test_what_was_forgotten_does_not_count() -> None:
    log = RestartLog(STRICT)
    for _ in range(4):
        log.ended(0.0, planned=False)
    log.forget()
    assert [log.ended(0.0, planned=False) for _ in range(4)] == [0.0, 0.05, 0.1, None]


def test_no_restarts_at_all_can_be_asked_for() -> None:
    assert RestartLog(Intensity(restarts=0)).ended(0.0, planned=False) is None


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=60), st.integers(0, 5))
def test_it_gives_up_exactly_when_the_window_holds_too_many(ends: list[tuple[float, bool]], restarts: int) -> None:
    log = RestartLog(Intensity(restarts=restarts, period_seconds=5.0))
    now, unplanned = 0.0, list[float]()
    for step, planned in ends:
        now += step
        pause = log.ended(now, planned=planned)
        if planned:
            assert pause == 0.0
            continue
        unplanned.append(now)
        recent = [end for end in unplanned if end > now - 5.0]
        assert (pause is None) == (len(recent) > restarts)
        assert pause is None or 0.0 <= pause <= 5.0


@pytest.mark.parametrize("planned", [True, False])
def test_a_pause_is_never_negative(planned: bool) -> None:
    assert (RestartLog(Intensity()).ended(0.0, planned=planned) or 0.0) >= 0.0


# One generation's supervision, against a model that looks at every replica.

RESTARTS, PERIOD_SECONDS = 2, 10.0


class SupervisionModel(RuleBasedStateMachine):
    """Replicas that start, serve, pause and are let go, as keepers would see to it, with time that a rule moves."""

    @initialize(wanted=st.integers(1, 4))
    def begin(self, wanted: int) -> None:
        self.now = 0.0
        self.entered: list[State] = []
        self.supervision = Supervision(
            wanted, Intensity(RESTARTS, PERIOD_SECONDS, first_seconds=1.0), self.now, self.entered.append
        )
        self.starting, self.serving, self.pausing = wanted, 0, 0
        self.unplanned: list[float] = []
        self.ended_for_good = False
        self.gave_up = False

    @property
    def kept(self) -> int:
        return self.starting + self.serving + self.pausing

    @rule(seconds=st.floats(0.0, 12.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.starting)
    @rule()
    def a_worker_becomes_ready(self) -> None:
        self.starting, self.serving = self.starting - 1, self.serving + 1
        self.supervision.joined(self.now)

    @precondition(lambda self: self.serving)
    @rule(planned=st.booleans())
    def a_serving_worker_ends(self, planned: bool) -> None:
        self.serving -= 1
        self.supervision.left()
        self._ends(planned=planned)

    @precondition(lambda self: self.starting)
    @rule()
    def a_start_fails(self) -> None:
        self.starting -= 1
        self._ends(planned=False)

    @precondition(lambda self: self.starting and self.supervision.state is State.STARTING)
    @rule()
    def a_start_fails_that_somebody_waits_for(self) -> None:
        self.starting -= 1
        self.gave_up = True
        self.supervision.let_go(self.now, "no licence")
        assert self.supervision.reason == "no licence"

    def _ends(self, *, planned: bool) -> None:
        was_trying = self.supervision.starts
        pause = self.supervision.ended(self.now, planned=planned)
        if not was_trying:
            assert pause is None
            self.supervision.let_go(self.now, "")
            return
        if not planned:
            self.unplanned = [end for end in self.unplanned if end > self.now - PERIOD_SECONDS] + [self.now]
        assert (pause is None) == (not planned and len(self.unplanned) > RESTARTS)
        if pause is None:
            self.gave_up = True
            self.supervision.let_go(self.now, "too many")
        else:
            self.pausing += 1

    @precondition(lambda self: self.pausing)
    @rule()
    def a_pause_ends(self) -> None:
        self.pausing -= 1
        if self.supervision.starts:
            self.starting += 1
        else:
            self.supervision.let_go(self.now, "")

    @precondition(lambda self: not self.ended_for_good)
    @rule()
    def somebody_restarts(self) -> None:
        missing = self.supervision.restart(self.now)
        assert missing == self.supervision.wanted - self.kept
        self.starting += missing
        self.unplanned, self.gave_up = [], False
        assert self.supervision.reason == "" and self.supervision.unplanned_ends(self.now) == 0
        assert (self.supervision.state is State.RUNNING) == (self.serving == self.supervision.wanted)

    @precondition(lambda self: self.ended_for_good)
    @rule()
    def nobody_restarts_what_was_stopped(self) -> None:
        before = (self.supervision.state, self.supervision.since, self.supervision.kept)
        with pytest.raises(IllegalTransition):
            self.supervision.restart(self.now)
        assert (self.supervision.state, self.supervision.since, self.supervision.kept) == before

    @rule()
    def it_is_told_to_stop(self) -> None:
        self.supervision.stop(self.now)
        self.ended_for_good = True

    @precondition(lambda self: not self.kept)
    @rule()
    def nothing_is_left(self) -> None:
        self.supervision.stopped(self.now)
        assert (self.supervision.state is State.STOPPED) == self.ended_for_good

    @invariant()
    def it_agrees_with_the_replicas(self) -> None:
        rules = self.supervision
        assert (rules.kept, rules.ready) == (self.kept, self.serving)
        if self.ended_for_good:
            assert rules.is_over and not rules.starts
        elif self.gave_up:
            assert rules.state is (State.DEGRADED if self.kept else State.FAILED)
            assert rules.reason and not rules.starts
        else:
            assert rules.starts and rules.kept == rules.wanted
            assert rules.ready < rules.wanted or rules.state is State.RUNNING

    @invariant()
    def every_state_was_told_and_dated(self) -> None:
        assert not self.entered or self.entered[-1] is self.supervision.state
        assert self.supervision.since <= self.now


SupervisionModel.TestCase.settings = settings(SupervisionModel.TestCase.settings, stateful_step_count=80)
TestSupervision = SupervisionModel.TestCase
