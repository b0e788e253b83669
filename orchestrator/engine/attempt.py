"""One stage of one run: what is known of it while it runs and afterwards, and what the stages of a run gave together.

It decides nothing; it tells its run what came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from isolation.call import Call
from isolation.errors import CallError
from isolation.protocol.messages import Invocation
from orchestrator.clock import Alarm
from orchestrator.engine.wiring import Wire
from orchestrator.faults import StageFault, fault_of
from orchestrator.resilience.breaker import Permit
from orchestrator.resilience.retry import Trail
from pipelines.answer import NOTHING, Violation
from pipelines.body import Body
from pipelines.merge import Contribution, join
from pipelines.plan import OnError, StageState, Variant
from pipelines.run import Effect, Undo

__all__ = ["Attempt", "Repeat", "Taker", "UndoRecord", "hints_of", "result_of", "strictest"]


class Taker(Protocol):
    """A run, as its attempts see it."""

    def answered(self, attempt: Attempt, result: msgspec.Raw) -> None:
        """Take an answer."""

    def failed(self, attempt: Attempt, fault: StageFault) -> None:
        """Take the reason why there is none."""


@dataclass(slots=True)
class UndoRecord:
    """The compensation of one stage of one run: all that is needed to finish it by hand. `key`, `undoes` and `input`
    (JSON) are what the plugin was sent.
    """

    plugin: str
    stage: str
    key: str
    undoes: str
    input: bytes = b"{}"
    state: Undo = Undo.RUNNING
    tried: int = 0
    fault: StageFault | None = None


class Attempt(Call):
    """One stage of one run, from the moment it is taken up, and the call of its first try. Times are monotonic seconds.

    `before` is the payload that it saw; `context` what it saw where its ancestors wrote state. `current` is the call of
    the newest try, None while that is the first; `alarm` is there between two tries, `earlier` is what the one before
    failed with. `effect` is the worst so far. `said` is what the plugin answered, kept where the run is journaled.
    `signed` holds the statements that the host made of its `out`.
    """

    variant: Variant
    ended = 0.0
    tried = 0
    state = StageState.RUNNING
    why: str | None = None
    answer = NOTHING
    out: Mapping[str, object] | None = None
    violation: Violation | None = None
    fault: StageFault | None = None
    before: Body | None = None
    context: Body | None = None
    effect = Effect.NONE
    current: Call | None = None
    permit: Permit | None = None
    trail: Trail | None = None
    alarm: Alarm | None = None
    earlier: StageFault | None = None
    undo: UndoRecord | None = None
    said: bytes | None = None
    signed: Mapping[str, str] | None = None

    def __init__(self, run: Taker, wire: Wire, started: float) -> None:
        self.run: Taker | None = run
        self.wire = wire
        self.variant = wire.plan.variants[-1]
        self.started = started

    def answered(self, result: msgspec.Raw) -> None:
        """Take the stage's answer and let the run go on."""
        if self.run is not None:
            self.run.answered(self, result)

    def failed(self, error: CallError) -> None:
        """Take the reason why there is none and let the run go on."""
        if self.run is not None:
            self.run.failed(self, fault_of(error))


class Repeat(Call):
    """A further try of a stage; its attempt hears what comes of it."""

    def __init__(self, attempt: Attempt, invocation: Invocation, deadline: float) -> None:
        super().__init__(invocation, deadline)
        self.attempt = attempt

    def answered(self, result: msgspec.Raw) -> None:
        """Pass the answer on."""
        self.attempt.answered(result)

    def failed(self, error: CallError) -> None:
        """Pass the reason on."""
        self.attempt.failed(error)


def strictest(variants: tuple[Variant, ...]) -> Variant:
    """The first variant that lets no error pass; the last where all do."""
    return next((variant for variant in variants if variant.on_error is OnError.FAIL), variants[-1])


def result_of(attempts: Sequence[Attempt | None]) -> Mapping[str, object] | None:
    """The hook's answer, where it is not the payload: one write, as a whole. Raises MergeConflict."""
    given = [
        Contribution(one.wire.plan.index, one.wire.plan.ancestors, {("result",): one.answer.result})
        for one in attempts
        if one is not None and one.answer.result is not None
    ]
    if not given:
        return None
    result = join({}, given)["result"]
    assert isinstance(result, dict)  # as each of them is
    return result


def hints_of(attempts: Sequence[Attempt | None]) -> dict[str, object] | None:
    """What the gateway may add to its response; of two hints for one thing the later stage's counts."""
    hints: dict[str, object] | None = None
    headers: dict[str, str] = {}
    for one in attempts:
        given = one.answer.hints if one is not None else None
        if given is None:
            continue
        hints = hints or {"http_headers": headers}
        headers.update(given.http_headers)
        if given.retry_after_ms is not None:
            hints["retry_after_ms"] = given.retry_after_ms
    return hints
