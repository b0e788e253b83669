"""When a worker that ended is started again, and when no more: the rules of supervision, as in OTP.

Pure: time is an argument, and no worker is touched. `isolation/supervisor.py` performs what is decided here.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from isolation.protocol.life import IllegalTransition

__all__ = ["TABLE", "Event", "Intensity", "RestartLog", "State", "Supervision", "diagram", "follow"]


class State(enum.Enum):
    """Where the supervision of a generation stands.

    Starting: somebody waits until every replica is ready. Running: what ends is started again. Degraded: nothing is
    started any more, what is left serves on. Failed: nothing is left, calls are answered at once.
    """

    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Event(enum.Enum):
    """What can happen to a generation's supervision.

    Ready: every replica is. Give up: a replica ended more often than the restart intensity allows, or a start of it
    failed that somebody waits for, and others are left. Last end: none is. Restart: somebody asked for one.
    """

    READY = "ready"
    GIVE_UP = "give_up"
    LAST_END = "last_end"
    RESTART = "restart"
    STOP = "stop"
    STOPPED = "stopped"


TABLE: Mapping[State, Mapping[Event, State]] = MappingProxyType(
    {
        State.STARTING: MappingProxyType(
            {
                Event.READY: State.RUNNING,
                Event.GIVE_UP: State.DEGRADED,
                Event.LAST_END: State.FAILED,
                Event.RESTART: State.STARTING,
                Event.STOP: State.STOPPING,
            }
        ),
        State.RUNNING: MappingProxyType(
            {
                Event.GIVE_UP: State.DEGRADED,
                Event.LAST_END: State.FAILED,
                Event.RESTART: State.STARTING,
                Event.STOP: State.STOPPING,
            }
        ),
        State.DEGRADED: MappingProxyType(
            {Event.LAST_END: State.FAILED, Event.RESTART: State.STARTING, Event.STOP: State.STOPPING}
        ),
        State.FAILED: MappingProxyType({Event.RESTART: State.STARTING, Event.STOP: State.STOPPING}),
        State.STOPPING: MappingProxyType({Event.STOPPED: State.STOPPED}),
        State.STOPPED: MappingProxyType({}),
    }
)


def follow(state: State, event: Event) -> State:
    """Return the state after `event`; raises IllegalTransition and changes nothing otherwise."""
    after = TABLE[state].get(event)
    if after is None:
        raise IllegalTransition(f"a generation that is {state.value} cannot take {event.value}")
    return after


def diagram() -> str:
    """Draw the table in Mermaid's state diagram language."""
    lines = ["stateDiagram-v2", "    [*] --> starting"]
    for state, row in TABLE.items():
        lines += [f"    {state.value} --> {after.value}: {event.value}" for event, after in row.items()]
    return "\n".join([*lines, "    stopped --> [*]"])


@dataclass(frozen=True, slots=True)
class Intensity:
    """At most `restarts` unplanned ends within `period_seconds`.

    The first restart in a period comes at once; the pause before the second is `first_seconds`, and from there on it
    grows by `factor` up to `longest_seconds`.
    """

    restarts: int = 5
    period_seconds: float = 10.0
    first_seconds: float = 0.05
    longest_seconds: float = 5.0
    factor: float = 2.0


class RestartLog:
    """Remembers the unplanned ends of one generation's workers."""

    def __init__(self, intensity: Intensity) -> None:
        self._intensity = intensity
        self._ends = deque[float]()

    def ended(self, now: float, *, planned: bool) -> float | None:
        """Note an end; return the pause in seconds before the next start, None when there must be none.

        A planned end (an overrunning call was killed) does not count.
        """
        if planned:
            return 0.0
        self._ends.append(now)
        recent = self.recent(now)
        return None if recent > self._intensity.restarts else self._pause(recent)

    def _pause(self, recent: int) -> float:
        limits = self._intensity
        if recent == 1 or not limits.first_seconds:
            return 0.0
        try:
            return min(limits.longest_seconds, limits.first_seconds * limits.factor ** (recent - 2))
        except OverflowError:
            return limits.longest_seconds

    def recent(self, now: float) -> int:
        """How many unplanned ends lie within the period."""
        while self._ends and self._ends[0] <= now - self._intensity.period_seconds:
            self._ends.popleft()
        return len(self._ends)

    def forget(self) -> None:
        """Begin anew: somebody has looked after what was wrong."""
        self._ends.clear()


class Supervision:
    """One generation's supervision: how many of its replicas are kept and ready, and what follows from an end.

    A replica is kept while it has a worker or is to get one. Over the restart intensity OTP ends the siblings as well,
    because the supervisor above starts all of them anew. Above this one is a person: until they come, what is ready
    serves on, for an outage of all replicas is no better than one of some. Nothing is started any more, though, and
    with the end of the last replica the generation has failed.

    `entered` is told of every state that is entered, after the fact.
    """

    def __init__(self, wanted: int, intensity: Intensity, now: float, entered: Callable[[State], None]) -> None:
        self.state = State.STARTING
        self.since = now
        self.wanted = wanted
        self.kept = wanted
        self.ready = 0
        self.reason = ""
        """Why it is degraded or failed."""
        self._entered = entered
        self._log = RestartLog(intensity)

    @property
    def starts(self) -> bool:
        """Whether workers are started, for the first time or again."""
        return self.state is State.STARTING or self.state is State.RUNNING

    @property
    def is_over(self) -> bool:
        """Whether it was told to stop."""
        return self.state is State.STOPPING or self.state is State.STOPPED

    def unplanned_ends(self, now: float) -> int:
        """How many unplanned ends lie within the period of the intensity."""
        return self._log.recent(now)

    def joined(self, now: float) -> None:
        """Note that a worker takes calls."""
        self.ready += 1
        self._see_whether_all_are_ready(now)

    def left(self) -> None:
        """Note that a worker which took calls takes no more."""
        self.ready -= 1

    def ended(self, now: float, *, planned: bool) -> float | None:
        """Note a worker's end; return the pause in seconds before the next start, None when there must be none.

        On None the replica has to be `let_go`.
        """
        return self._log.ended(now, planned=planned) if self.starts else None

    def let_go(self, now: float, reason: str) -> None:
        """Note that a replica is kept no more. The first one takes the others' restarts with it, for `reason`."""
        self.kept -= 1
        if self.is_over:
            return
        if self.starts:
            self.reason = reason
        if not self.kept:
            self._follow(Event.LAST_END, now)
        elif self.starts:
            self._follow(Event.GIVE_UP, now)

    def restart(self, now: float) -> int:
        """Forget every end; return how many replicas have to be kept again. Not once it was told to stop."""
        self._follow(Event.RESTART, now)
        self._log.forget()
        self.reason = ""
        missing, self.kept = self.wanted - self.kept, self.wanted
        self._see_whether_all_are_ready(now)
        return missing

    def stop(self, now: float) -> None:
        """Begin to end for good; a second time changes nothing."""
        if not self.is_over:
            self._follow(Event.STOP, now)

    def stopped(self, now: float) -> None:
        """Note that nothing is left; a second time changes nothing."""
        if self.state is State.STOPPING:
            self._follow(Event.STOPPED, now)

    def _see_whether_all_are_ready(self, now: float) -> None:
        if self.state is State.STARTING and self.ready == self.wanted:
            self._follow(Event.READY, now)

    def _follow(self, event: Event, now: float) -> None:
        self.state = follow(self.state, event)
        self.since = now
        self._entered(self.state)
