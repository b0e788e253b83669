"""A breaker: who is admitted, what counts, when it opens and closes, and what it leaves alone."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from breaking import GENERATION, STEADY, Clock, Noting, breaker_of, broken, half_open
from pybreaker import CircuitBreaker, CircuitBreakerError, CircuitBreakerListener, CircuitBreakerState

from orchestrator.resilience.breaker import Breaker, BreakerOpen, BreakerView, IllegalSettlement, Permit
from orchestrator.resilience.states import TABLE, Event, IllegalTransition, State

CALLERS = 1000


def settle(breaker: Breaker, permit: Permit, letter: str) -> None:
    """F fails, S succeeds, R is released."""
    if letter == "F":
        breaker.failed(permit, ValueError())
    elif letter == "S":
        breaker.succeeded(permit)
    else:
        breaker.released(permit)


def outcomes(breaker: Breaker, letters: str) -> None:
    """Calls one after another."""
    for letter in letters:
        settle(breaker, breaker.admit(), letter)


# Closed: the window.


@pytest.mark.parametrize(
    ("calls", "state"),
    [
        ("FFF", "closed"),  # all of them failed, but fewer than minimum_calls are known
        ("FFFF", "open"),
        ("SSFF", "open"),  # half of four
        ("SSSFF", "closed"),
        ("SSSFFF", "open"),
        ("RRRRRRRFFF", "closed"),  # what was released is not known
        ("FFSS", "closed"),  # half of four again, but the last was a success
        ("FFSSSSSSSSSS" + "FFFF", "closed"),  # the first two have slid out of the ten
        ("FFSSSSSSSSSS" + "FFFFF", "open"),
    ],
)
def test_it_opens_when_enough_of_the_known_calls_of_the_window_failed(calls: str, state: str) -> None:
    breaker = breaker_of()
    outcomes(breaker, calls)
    assert breaker.view().state == state


def test_a_success_slides_the_window() -> None:
    breaker = breaker_of()
    outcomes(breaker, "FF" + "S" * 8)
    assert (breaker.view().calls, breaker.view().failures) == (10, 2)
    outcomes(breaker, "S")
    assert (breaker.view().calls, breaker.view().failures) == (10, 1)


def test_a_success_does_not_clear_the_count() -> None:
    breaker = breaker_of(replace(STEADY, window=1000, minimum_calls=1000))
    outcomes(breaker, "FFS" * 333)
    assert breaker.view().failures == 666
    outcomes(breaker, "F")
    assert breaker.view().state == "open"


def test_nothing_reads_the_clock_while_it_is_closed() -> None:
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    before = clock.readings
    outcomes(breaker, "SSFR" * 5)
    assert clock.readings == before


def test_the_error_that_opens_it_is_left_to_the_caller() -> None:
    noting = Noting()
    breaker = breaker_of(replace(STEADY, minimum_calls=1), None, noting)
    error = ValueError("the plugin's own")
    permit = breaker.admit()
    breaker.failed(permit, error)
    assert breaker.view().state == "open"
    assert noting.errors == [error]


# Open, and half-open.


def test_an_open_breaker_refuses_until_its_time_is_over() -> None:
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    broken(breaker)
    for passed, said in ((0.0, "in 30.0 s"), (12.34, "in 17.7 s"), (29.99, "in 0.1 s")):
        clock.now = 1000.0 + passed
        with pytest.raises(BreakerOpen, match=rf"breaker pii@0123abcd/mask steady is open; .* {said}") as refused:
            breaker.admit()
        assert refused.value.code == "penstock.breaker_open" and refused.value.hint
        assert refused.value.retry_seconds == pytest.approx(30.0 - passed)
        assert isinstance(refused.value, CircuitBreakerError)
    clock.now = 1030.0
    breaker.admit()
    assert breaker.view().state == "half-open"


def test_time_alone_leaves_an_open_breaker_open() -> None:
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    broken(breaker)
    clock.now += 31.0
    view = breaker.view()
    assert (view.state, view.retry_seconds, view.since_seconds) == ("open", 0.0, 31.0)


def test_as_many_successes_as_probes_close_it_with_an_empty_window() -> None:
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    breaker.succeeded(half_open(breaker, clock))
    outcomes(breaker, "RS")
    assert breaker.view().state == "half-open"
    outcomes(breaker, "S")
    assert (breaker.view().state, breaker.view().calls) == ("closed", 0)


def test_one_failed_probe_opens_it_again_for_the_full_time() -> None:
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    breaker.succeeded(half_open(breaker, clock))
    outcomes(breaker, "S")
    clock.now += 7.0
    outcomes(breaker, "F")
    assert (breaker.view().state, breaker.view().retry_seconds) == ("open", 30.0)
    clock.now += 30.0
    outcomes(breaker, "SS")
    assert breaker.view().state == "half-open", "successes from before it opened again count no more"


@pytest.mark.parametrize("letter", "SR")
def test_probes_that_are_out_are_the_most_there_may_be(letter: str) -> None:
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    first = half_open(breaker, clock)
    breaker.admit()
    breaker.admit()
    with pytest.raises(BreakerOpen, match="3 of 3 probes out; it may be tried again when one of them ends") as refused:
        breaker.admit()
    assert refused.value.retry_seconds is None
    assert breaker.view().probes_out == 3
    settle(breaker, first, letter)
    assert breaker.view().probes_out == 2
    breaker.admit()


def test_a_clock_that_stands_still_is_fine() -> None:
    clock = Clock()
    breaker = breaker_of(replace(STEADY, open_seconds=0.0), clock)
    breaker.succeeded(half_open(breaker, clock))
    outcomes(breaker, "SS" + "FFFF" + "F" + "SSS" + "S")
    assert (breaker.view().state, breaker.view().since_seconds) == ("closed", 0.0)


def test_half_open_admits_its_probes_and_no_more_of_a_thousand_callers_at_once() -> None:
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    broken(breaker)
    clock.now += 30.0
    refusals = []

    async def call(answer: asyncio.Event, asked: asyncio.Barrier) -> None:
        try:
            permit = breaker.admit()
        except BreakerOpen as refusal:
            refusals.append(refusal)
            await asked.wait()
            return
        await asked.wait()
        await answer.wait()
        breaker.succeeded(permit)

    async def everybody() -> None:
        answer, asked = asyncio.Event(), asyncio.Barrier(CALLERS + 1)
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(call(answer, asked))
            await asked.wait()
            assert (breaker.view().state, breaker.view().probes_out) == ("half-open", 3)
            answer.set()

    asyncio.run(everybody())
    assert len(refusals) == CALLERS - 3
    assert breaker.view().state == "closed"


@pytest.mark.parametrize("seed", range(5))
def test_a_thousand_callers_that_end_in_any_order_never_have_more_probes_out(seed: int) -> None:
    chance = random.Random(seed)
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    probes = [half_open(breaker, clock)]
    most = 0
    for _ in range(CALLERS):
        try:
            probes.append(breaker.admit())
        except BreakerOpen:
            assert len(probes) == 3
        most = max(most, len(probes))
        if chance.random() < 0.5:
            breaker.released(probes.pop(chance.randrange(len(probes))))
        assert breaker.view().probes_out == len(probes)
    assert most == 3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("start", ["closed", "half-open"])
def test_a_thousand_cancellations_leak_no_permit_and_count_nothing(start: str, seed: int) -> None:
    chance = random.Random(seed)
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    if start == "half-open":
        breaker.released(half_open(breaker, clock))
    before = breaker.view()
    cancelled = 0

    async def call() -> None:
        nonlocal cancelled
        permit = breaker.admit()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            breaker.released(permit)
            cancelled += 1
            raise

    async def cancel_in_any_order() -> None:
        for _ in range(CALLERS):
            # Fewer than the probes, so that each is admitted; a leaked permit would refuse one of the next.
            calls = [asyncio.create_task(call()) for _ in range(chance.randint(1, 3))]
            await asyncio.sleep(0)
            chance.shuffle(calls)
            for one in calls:
                one.cancel()
                if chance.random() < 0.5:
                    await asyncio.wait([one])
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended

    asyncio.run(cancel_in_any_order())
    assert cancelled >= CALLERS
    assert breaker.view() == before


# Permits.


@pytest.mark.parametrize("second", "FSR")
@pytest.mark.parametrize("first", "FSR")
@pytest.mark.parametrize("start", ["closed", "half-open"])
def test_a_second_settlement_raises_and_changes_nothing(start: str, first: str, second: str) -> None:
    clock, noting = Clock(), Noting()
    breaker = breaker_of(STEADY, clock, noting)
    permit = breaker.admit() if start == "closed" else half_open(breaker, clock)
    settle(breaker, permit, first)
    before, heard = breaker.view(), list(noting.heard)
    with pytest.raises(IllegalSettlement, match="was settled before"):
        settle(breaker, permit, second)
    assert (breaker.view(), noting.heard) == (before, heard)


def test_a_permit_of_another_breaker_is_refused_and_stays_good() -> None:
    mine, other = breaker_of(), Breaker(GENERATION, "find", STEADY, Clock())
    permit = mine.admit()
    with pytest.raises(IllegalSettlement, match=r"/mask steady was brought to pii@0123abcd/find steady"):
        other.failed(permit, ValueError())
    mine.succeeded(permit)
    assert (mine.view().calls, other.view().calls) == (1, 0)


def moved_to(breaker: Breaker, clock: Clock, place: str) -> None:
    """Take a closed breaker to where an earlier epoch's permits are late."""
    if place == "open":
        broken(breaker)
    elif place == "half-open":
        breaker.released(half_open(breaker, clock))
    elif place == "forced":
        breaker.force_open("drill")
    elif place == "closed again":
        broken(breaker)
        clock.now += 30.0
        outcomes(breaker, "SSS")
    else:
        breaker.reset()


@pytest.mark.parametrize("letter", "FSR")
@pytest.mark.parametrize("place", ["open", "half-open", "forced", "closed again", "reset"])
def test_a_permit_of_an_earlier_epoch_changes_nothing(place: str, letter: str) -> None:
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    late = [breaker.admit() for _ in range(2 * STEADY.window)]
    moved_to(breaker, clock, place)
    before = breaker.view()
    for permit in late:
        settle(breaker, permit, letter)
    assert breaker.view() == before


@pytest.mark.parametrize("letter", "FSR")
def test_a_late_probe_changes_nothing_of_the_next_half_open(letter: str) -> None:
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    late = half_open(breaker, clock)
    outcomes(breaker, "F")
    clock.now += 30.0
    breaker.admit()
    before = breaker.view()
    assert (before.state, before.probes_out) == ("half-open", 1)
    settle(breaker, late, letter)
    assert breaker.view() == before


# Undo calls.


def test_an_undo_is_counted_while_closed_and_may_open() -> None:
    breaker = breaker_of()
    breaker.record(None)
    breaker.record(ValueError())
    assert (breaker.view().calls, breaker.view().failures) == (2, 1)
    breaker.record(ValueError())
    breaker.record(ValueError())
    assert breaker.view().state == "open"


@pytest.mark.parametrize("error", [None, ValueError()])
@pytest.mark.parametrize("place", ["open", "half-open", "forced"])
def test_an_undo_is_never_blocked_and_moves_nothing_but_a_closed_breaker(
    place: str, error: BaseException | None
) -> None:
    clock, noting = Clock(), Noting()
    breaker = breaker_of(replace(STEADY, probes=1), clock, noting)
    moved_to(breaker, clock, place)
    before = breaker.view()
    breaker.record(error)
    assert breaker.view() == before
    assert noting.heard[-1] == ("failure" if error else "success")


# The operator.


@pytest.mark.parametrize("place", ["reset", "open", "half-open"])
def test_forced_open_stays_until_a_reset(place: str) -> None:
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    moved_to(breaker, clock, place)
    breaker.force_open("upstream is in maintenance")
    for _ in range(3):
        clock.now += 1e6
        with pytest.raises(BreakerOpen, match=r"forced open \(upstream is in maintenance\).*after a reset") as refused:
            breaker.admit()
        assert refused.value.retry_seconds is None
    view = breaker.view()
    assert (view.state, view.forced, view.reason) == ("open", True, "upstream is in maintenance")
    assert view.retry_seconds is None
    breaker.reset()
    assert not breaker.view().forced and not breaker.view().reason
    breaker.admit()


def test_forcing_again_gives_a_new_reason() -> None:
    breaker = breaker_of()
    breaker.force_open("one")
    breaker.force_open("two")
    assert breaker.view().reason == "two"


@pytest.mark.parametrize("place", ["reset", "open", "half-open", "forced"])
def test_a_reset_closes_and_empties_the_window(place: str) -> None:
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    outcomes(breaker, "SF")
    moved_to(breaker, clock, place)
    clock.now += 1.0
    breaker.reset()
    view = breaker.view()
    assert (view.state, view.calls, view.failures, view.since_seconds) == ("closed", 0, 0, 0.0)


def test_a_view_says_how_the_breaker_stands() -> None:
    clock = Clock()
    breaker = breaker_of(STEADY, clock)
    outcomes(breaker, "SSSFFF")
    clock.now += 5.0
    assert breaker.view() == BreakerView(
        name="pii@0123abcd/mask steady",
        plugin="pii",
        stage="mask",
        policy="steady",
        state="open",
        calls=6,
        failures=3,
        failure_rate=0.5,
        since_seconds=5.0,
        retry_seconds=25.0,
        probes_out=0,
        forced=False,
        reason="",
    )
    assert breaker_of().view().failure_rate == 0.0


# Listeners, and what else is pybreaker's.


def test_listeners_hear_each_call_outcome_and_change_once_in_order() -> None:
    clock, noting, second = Clock(), Noting(), Noting()
    breaker = breaker_of(replace(STEADY, minimum_calls=1, failure_rate=1.0, probes=1), clock, noting, second)
    late = breaker.admit()
    outcomes(breaker, "RF")
    with pytest.raises(BreakerOpen):
        breaker.admit()
    clock.now += 30.0
    outcomes(breaker, "S")
    breaker.succeeded(late)
    breaker.force_open("drill")
    breaker.reset()
    assert noting.heard == [
        *["before_call", "before_call", "before_call", "failure", "closed to open"],
        *["open to half-open", "before_call", "success", "half-open to closed"],
        *["success", "closed to open", "open to closed"],
    ]
    assert second.heard == noting.heard


class Raising(CircuitBreakerListener):
    """Raises whenever it hears something."""

    def before_call(self, cb: CircuitBreaker, func: object, *args: object, **kwargs: object) -> None:
        raise RuntimeError("before_call")

    def success(self, cb: CircuitBreaker) -> None:
        raise RuntimeError("success")

    def failure(self, cb: CircuitBreaker, exc: BaseException) -> None:
        raise RuntimeError("failure")

    def state_change(
        self, cb: CircuitBreaker, old_state: CircuitBreakerState | None, new_state: CircuitBreakerState
    ) -> None:
        raise RuntimeError("state_change")


def test_a_listener_that_raises_is_logged_and_costs_nobody_anything(caplog: pytest.LogCaptureFixture) -> None:
    clock, noting = Clock(), Noting()
    breaker = Breaker(GENERATION, "mask", STEADY, clock, [Raising(), noting])
    with caplog.at_level(logging.ERROR, "penstock.breaker"):
        breaker.succeeded(half_open(breaker, clock))
        outcomes(breaker, "SS")
    assert breaker.view().state == "closed"
    assert {record.message for record in caplog.records} == {"breaker.listener_failed"}
    assert len(caplog.records) == len(noting.heard) == 4 * 2 + 3 * 2 + 3


class Resetting(CircuitBreakerListener):
    """Acts on what it hears, which listeners should not: resets as soon as a call failed."""

    def failure(self, cb: CircuitBreaker, exc: BaseException) -> None:
        assert isinstance(cb, Breaker)
        cb.reset()


def test_an_outcome_does_not_count_in_an_epoch_that_a_listener_began() -> None:
    breaker = Breaker(GENERATION, "mask", replace(STEADY, minimum_calls=1), Clock(), [Resetting()])
    outcomes(breaker, "F")
    assert (breaker.view().state, breaker.view().calls) == ("closed", 0)


def test_listeners_can_come_later_and_go() -> None:
    breaker, noting = breaker_of(), Noting()
    outcomes(breaker, "S")
    breaker.add_listener(noting)
    outcomes(breaker, "S")
    breaker.remove_listener(noting)
    outcomes(breaker, "S")
    assert noting.heard == ["before_call", "success"]


def test_a_breaker_runs_no_call_itself() -> None:
    breaker, ran = breaker_of(), list[int]()
    decorated: Callable[[int], object] = breaker(ran.append)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: breaker.call(ran.append, 1),
        lambda: breaker.call_async(ran.append, 1),
        lambda: decorated(1),
        breaker.calling().__enter__,
    )
    for attempt in attempts:
        with pytest.raises(TypeError, match="ask it with `admit`"):
            attempt()
    assert ran == [] and breaker.view().calls == 0


MOVES: dict[Event, Callable[[Breaker], object]] = {
    Event.TRIP: Breaker.open,
    Event.TRY: Breaker.half_open,
    Event.RECOVER: Breaker.close,
    Event.FORCE: lambda breaker: breaker.force_open("drill"),
    Event.RESET: Breaker.reset,
}

WAYS = {
    State.CLOSED: (),
    State.OPEN: (Event.TRIP,),
    State.HALF_OPEN: (Event.TRIP, Event.TRY),
    State.FORCED_OPEN: (Event.FORCE,),
}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_each_move_follows_the_table_or_raises_and_changes_nothing(state: State, event: Event) -> None:
    breaker = breaker_of()
    for step in WAYS[state]:
        MOVES[step](breaker)
    epoch, before = breaker.epoch, breaker.view()
    assert epoch.kind is state
    if event in TABLE[state]:
        MOVES[event](breaker)
        assert breaker.epoch.kind is TABLE[state][event]
        assert breaker.epoch is not epoch
    else:
        with pytest.raises(IllegalTransition):
            MOVES[event](breaker)
        assert breaker.epoch is epoch and breaker.view() == before


def test_a_state_cannot_be_set_past_the_table() -> None:
    breaker = breaker_of()
    with pytest.raises(TypeError, match="changes by the moves of its table"):
        breaker.state = "open"
    assert breaker.view().state == "closed"
