"""The table of a worker's life: every pair of state and event, and the picture of it in the documentation."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from isolation.protocol.life import TABLE, Event, IllegalTransition, State, diagram, follow

LEGAL = {
    (State.STARTING, Event.HANDSHAKE): State.WARMING,
    (State.STARTING, Event.DRAIN): State.DRAINING,
    (State.STARTING, Event.EXIT): State.EXITED,
    (State.WARMING, Event.WARM): State.READY,
    (State.WARMING, Event.DRAIN): State.DRAINING,
    (State.WARMING, Event.EXIT): State.EXITED,
    (State.READY, Event.DRAIN): State.DRAINING,
    (State.READY, Event.EXIT): State.EXITED,
    (State.DRAINING, Event.EXIT): State.EXITED,
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair_is_in_the_table_or_an_error(state: State, event: Event) -> None:
    if (state, event) in LEGAL:
        assert follow(state, event) is LEGAL[state, event]
    else:
        with pytest.raises(IllegalTransition, match=f"{state.value} cannot take {event.value}"):
            follow(state, event)


def test_whatever_lives_can_exit_and_an_exit_is_final() -> None:
    assert all(Event.EXIT in TABLE[state] for state in State if state is not State.EXITED)
    assert not TABLE[State.EXITED]


def test_the_diagram_shows_every_transition() -> None:
    shown = [line.strip() for line in diagram().splitlines()]
    assert shown[0] == "stateDiagram-v2"
    arrows = {f"{state.value} --> {after.value}: {event.value}" for (state, event), after in LEGAL.items()}
    assert set(shown[2:-1]) == arrows


def test_the_documentation_shows_the_diagram() -> None:
    page = Path(__file__).parents[3] / "docs" / "protocol.md"
    assert diagram() in page.read_text()
