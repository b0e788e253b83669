"""The table of a breaker's states: every pair of state and event, and the picture of it."""

from __future__ import annotations

from itertools import product

import pytest

from orchestrator.resilience.states import TABLE, Event, IllegalTransition, State, diagram, follow

LEGAL = {
    (State.CLOSED, Event.TRIP): State.OPEN,
    (State.OPEN, Event.TRY): State.HALF_OPEN,
    (State.HALF_OPEN, Event.TRIP): State.OPEN,
    (State.HALF_OPEN, Event.RECOVER): State.CLOSED,
    **{(state, Event.FORCE): State.FORCED_OPEN for state in State},
    **{(state, Event.RESET): State.CLOSED for state in State},
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair_is_in_the_table_or_an_error(state: State, event: Event) -> None:
    if (state, event) in LEGAL:
        assert follow(state, event) is LEGAL[state, event]
    else:
        with pytest.raises(IllegalTransition, match=f"{state.value} cannot take {event.value}"):
            follow(state, event)


def test_only_a_reset_leaves_forced_open() -> None:
    leaving = [event for event, after in TABLE[State.FORCED_OPEN].items() if after is not State.FORCED_OPEN]
    assert leaving == [Event.RESET]


def test_the_diagram_shows_every_state_and_transition() -> None:
    shown = [line.strip() for line in diagram().splitlines()]
    assert shown[0] == "stateDiagram-v2"
    assert {f'state "{state.value}" as {state.name.lower()}' for state in State} < set(shown)
    arrows = {f"{state.name.lower()} --> {after.name.lower()}: {e.value}" for (state, e), after in LEGAL.items()}
    assert {line for line in shown if "-->" in line} == arrows | {"[*] --> closed"}
