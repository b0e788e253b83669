"""The life of one worker, as a table. No process is touched here."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["TABLE", "Event", "IllegalTransition", "State", "diagram", "follow"]


class State(enum.Enum):
    """Where a worker stands."""

    STARTING = "starting"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    EXITED = "exited"


class Event(enum.Enum):
    """What can happen to a worker."""

    HANDSHAKE = "handshake"
    WARM = "warm"
    DRAIN = "drain"
    EXIT = "exit"


TABLE: Mapping[State, Mapping[Event, State]] = MappingProxyType(
    {
        State.STARTING: MappingProxyType(
            {Event.HANDSHAKE: State.WARMING, Event.DRAIN: State.DRAINING, Event.EXIT: State.EXITED}
        ),
        State.WARMING: MappingProxyType(
            {Event.WARM: State.READY, Event.DRAIN: State.DRAINING, Event.EXIT: State.EXITED}
        ),
        State.READY: MappingProxyType({Event.DRAIN: State.DRAINING, Event.EXIT: State.EXITED}),
        State.DRAINING: MappingProxyType({Event.EXIT: State.EXITED}),
        State.EXITED: MappingProxyType({}),
    }
)


class IllegalTransition(Exception):
    """An event that the table does not know in this state."""


def follow(state: State, event: Event) -> State:
    """Return the state after `event`; raises IllegalTransition and changes nothing otherwise."""
    after = TABLE[state].get(event)
    if after is None:
        raise IllegalTransition(f"a worker that is {state.value} cannot take {event.value}")
    return after


def diagram() -> str:
    """Draw the table in Mermaid's state diagram language; docs/protocol.md holds the result."""
    lines = ["stateDiagram-v2", "    [*] --> starting"]
    for state, row in TABLE.items():
        lines += [f"    {state.value} --> {after.value}: {event.value}" for event, after in row.items()]
    return "\n".join([*lines, "    exited --> [*]"])
