"""The states of a breaker, as a table. No call, clock or listener is touched here."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["TABLE", "Event", "IllegalTransition", "State", "diagram", "follow"]


class State(enum.Enum):
    """Where a breaker stands. The first three are pybreaker's; FORCED_OPEN is an open one that no time closes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    FORCED_OPEN = "forced open"


class Event(enum.Enum):
    """What can happen to a breaker."""

    TRIP = "trip"
    TRY = "try"
    RECOVER = "recover"
    FORCE = "force"
    RESET = "reset"


TABLE: Mapping[State, Mapping[Event, State]] = MappingProxyType(
    {
        State.CLOSED: MappingProxyType(
            {Event.TRIP: State.OPEN, Event.FORCE: State.FORCED_OPEN, Event.RESET: State.CLOSED}
        ),
        State.OPEN: MappingProxyType(
            {Event.TRY: State.HALF_OPEN, Event.FORCE: State.FORCED_OPEN, Event.RESET: State.CLOSED}
        ),
        State.HALF_OPEN: MappingProxyType(
            {
                Event.TRIP: State.OPEN,
                Event.RECOVER: State.CLOSED,
                Event.FORCE: State.FORCED_OPEN,
                Event.RESET: State.CLOSED,
            }
        ),
        State.FORCED_OPEN: MappingProxyType({Event.FORCE: State.FORCED_OPEN, Event.RESET: State.CLOSED}),
    }
)


class IllegalTransition(Exception):
    """An event that the table does not know in this state."""


def follow(state: State, event: Event) -> State:
    """Return the state after `event`; raises IllegalTransition and changes nothing otherwise."""
    after = TABLE[state].get(event)
    if after is None:
        raise IllegalTransition(f"a breaker that is {state.value} cannot take {event.value}")
    return after


def diagram() -> str:
    """Draw the table in Mermaid's state diagram language."""
    lines = ["stateDiagram-v2", *(f'    state "{state.value}" as {_id(state)}' for state in State)]
    lines.append(f"    [*] --> {_id(State.CLOSED)}")
    for state, row in TABLE.items():
        lines += [f"    {_id(state)} --> {_id(after)}: {event.value}" for event, after in row.items()]
    return "\n".join(lines)


def _id(state: State) -> str:
    """Name a state as Mermaid can: it takes neither a hyphen nor a space."""
    return state.name.lower()
