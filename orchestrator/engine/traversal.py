"""One run in motion: performs what the run machine commands and tells it what came of it.

Callbacks, not coroutines: a stage costs no task. Everything that can go wrong while an answer is taken apart ends in
a state of its stage; what is left, a bug of ours, ends the run with a denial and never leaves it waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from isolation.call import Call
from isolation.protocol.messages import Invocation
from orchestrator.clock import Clock
from orchestrator.engine.attempt import Attempt, Repeat, hints_of, result_of, strictest
from orchestrator.engine.inputs import encoded, inputs_of
from orchestrator.engine.wiring import Route, Wire
from orchestrator.faults import ABANDONED, INTERNAL, StageFault
from orchestrator.resilience.witness import admit, conclude
from pipelines.answer import (
    NOTHING,
    BadAnswer,
    StageAnswer,
    Violation,
    payload_after,
    read_answer,
    state_after,
    state_after_error,
)
from pipelines.body import Body
from pipelines.expressions import Expression, ExpressionFailed
from pipelines.merge import MergeConflict, Writes, apply_patch, diff, first_outside
from pipelines.overlay import Overlay
from pipelines.plan import Mode, StageState
from pipelines.run import BEGIN, Cancel, Command, Effect, Event, Finish, Halt, Invoke, Phase, Settled, advance

if TYPE_CHECKING:
    from orchestrator.engine.aftercall import AfterCall
    from orchestrator.engine.finals import FinalRecord

__all__ = ["Onlooker", "Traversal"]

log = logging.getLogger("penstock.run")

# By names of their own where every stage is asked: to look a member of an Enum up takes as long as several calls.
DONE, UNKNOWN = Effect.DONE, Effect.UNKNOWN
GOING, SUCCEEDED = Phase.RUNNING, StageState.SUCCEEDED
DISABLED, AUDIT = Mode.DISABLED, Mode.AUDIT

NO_TRACE = b"null"


def _over(run: Traversal) -> None:
    """Stand in for `done` once it was called."""


class Onlooker(Protocol):
    """Who looks at stages while they run."""

    def saw(self, run: Traversal, attempt: Attempt, answer: msgspec.Raw | bytes | None) -> None:
        """A stage is settled; `answer` is what its plugin said, None where it said nothing."""

    def saw_final(self, run: Traversal, wire: Wire, record: FinalRecord, call: AfterCall | None) -> None:
        """A stage of `finally` is over; `call` is None where its plugin was not asked."""


class Traversal:
    """A run of one pipeline. `done` is called once, when the verdict is settled.

    After that `denied`, `violation`, `fault`, `payload`, `state`, `hints` and `result` are what the door answers with.
    `began` is in seconds since 1970, of a run that does not last only once it is summed up. `trace` is the W3C
    traceparent of its caller, "" where there is none.
    """

    began = 0.0
    ended = 0.0
    changes: Overlay | None = None
    state_changes: Overlay | None = None
    gave = False
    denied = False
    violation: Violation | None = None
    fault: StageFault | None = None
    state: Mapping[str, object] | None = None
    hints: dict[str, object] | None = None
    result: Mapping[str, object] | None = None
    trace = ""
    onlooker: Onlooker | None = None

    def __init__(
        self,
        id: str,
        route: Route,
        payload: Body,
        context: Body,
        started: float,
        deadline: float,
        *,
        clock: Clock,
        done: Callable[[Traversal], None],
        mocks: Mapping[str, bytes] | None = None,
    ) -> None:
        self.id = id
        self.route = route
        self.seen = payload
        self.payload = payload
        self.context = context
        self.started = started
        self.deadline = deadline
        self.clock = clock
        self.done = done
        self.mocks = mocks
        self.machine = route.shape.initial
        self.inbox: list[Event] = []
        self.attempts: list[Attempt | None] = [None] * len(route.wires)

    @property
    def verdict(self) -> str:
        """allow, modify or deny."""
        if self.denied:
            return "deny"
        return "modify" if self.payload is not self.seen else "allow"

    @property
    def encoded_trace(self) -> bytes:
        """The trace as plugins are sent it."""
        return b'"%b"' % self.trace.encode() if self.trace else NO_TRACE

    # Events in, commands out.

    def start(self) -> None:
        """Begin. `done` may be called before this returns."""
        self.tell(BEGIN)

    def halt(self, fault: StageFault) -> None:
        """End now, denied for `fault`, unless the verdict is settled already."""
        if not self.machine.decided:
            self.fault = fault
            self.tell(Halt())

    def refuse(self, fault: StageFault) -> None:
        """Deny a run that never began."""
        self.denied = True
        self.fault = fault
        self._deny_for(fault, None)
        self.ended = self.clock.now()

    def answered(self, attempt: Attempt, result: msgspec.Raw | bytes) -> None:
        """A plugin answered."""
        try:
            self.judge(attempt, result)
            if attempt.permit is not None:
                self._conclude(attempt, None)
        except BadAnswer as error:
            self.failed(attempt, StageFault("PluginError", "penstock.plugin_error", str(error)))
            return
        except Exception:
            if self.inbox:
                raise  # a mock answers while commands are performed: the loop that performs them ends the run
            self._crash("answer")
            return
        if attempt.violation is None:
            attempt.effect = DONE
        self._settle(attempt)
        if self.onlooker is not None:
            self.onlooker.saw(self, attempt, result)

    def failed(self, attempt: Attempt, fault: StageFault) -> None:
        """A try ended without an answer. What was sent may have had its effect."""
        try:
            if fault.sent:
                attempt.effect = UNKNOWN
            if attempt.permit is not None:
                self._conclude(attempt, fault)
            if attempt.wire.retries is not None and self._tries_again(attempt, fault):
                return
            self.blame(attempt, fault)
        except Exception:
            if self.inbox:
                raise  # as in answered
            self._crash("failure")
            return
        self._settle(attempt)
        if self.onlooker is not None:
            self.onlooker.saw(self, attempt, None)

    def _settle(self, attempt: Attempt) -> None:
        attempt.ended = self.clock.now()
        self.tell(Settled(attempt.wire.plan.index, attempt.state, attempt.effect))

    def tell(self, event: Event) -> None:
        """Follow `event` and all that it causes. Events that come up meanwhile wait for its commands."""
        self.inbox.append(event)
        if len(self.inbox) > 1:
            return
        try:
            while self.inbox:
                self.machine, commands = advance(self.route.shape, self.machine, self.inbox[0])
                for command in commands:
                    self._perform(command)
                del self.inbox[0]
                if self.machine.phase is not GOING:
                    self.inbox.clear()
        except Exception:  # noqa: BLE001  a bug of ours must end the run, not leave it waiting
            self._crash("run")

    def _perform(self, command: Command) -> None:
        if type(command) is Invoke:
            self._take_up(command.stage, command.unmet)
        elif type(command) is Cancel:
            self._abandon(command.stage)
        elif type(command) is Finish:
            self._finish(command)

    def _crash(self, where: str) -> None:
        log.exception("run.crashed", extra={"run": self.id, "where": where})
        self.inbox.clear()
        if self.ended:
            return
        self.machine = self.machine._replace(phase=Phase.OVER)
        for stage in range(len(self.attempts)):
            try:
                self._abandon(stage)
            except Exception:
                log.exception("run.crashed", extra={"run": self.id, "where": "cancel"})
        self.denied = True
        self.fault = INTERNAL
        self._deny_for(self.fault, None)
        self._end()

    # Taking a stage up.

    def _take_up(self, stage: int, unmet: int) -> None:
        wire = self.route.wires[stage]
        earlier = self.attempts[stage]
        attempt = self.attempts[stage] = Attempt(self, wire, self.clock.now())
        if earlier is not None:
            attempt.effect = earlier.effect  # tried before its host was killed
        try:
            sent = self._prepare(attempt, unmet)
        except ExpressionFailed as error:
            self.blame(attempt, StageFault("ExpressionError", "penstock.expression", str(error)))
        except MergeConflict as error:
            self.blame(attempt, self._conflict(error))
        else:
            if sent:
                return
        attempt.ended = attempt.started
        self.tell(Settled(stage, attempt.state, attempt.effect))
        if self.onlooker is not None:
            self.onlooker.saw(self, attempt, None)

    def _prepare(self, attempt: Attempt, unmet: int) -> bool:
        """Choose the variant and send the call; False when the stage is settled without one."""
        wire = attempt.wire
        plan = wire.plan
        place = len(plan.variants) - 1
        if place:
            place = self._choose(attempt)
        variant = attempt.variant = plan.variants[place]
        if variant.mode is DISABLED:
            self.skip(attempt, "disabled")
            return False
        if unmet >= 0:
            self._unmet(attempt, unmet)
            return False
        payload = attempt.before
        if payload is None:
            payload = attempt.before = self.payload_of(attempt)
        if plan.when is not None and not self.evaluate(plan.when, attempt, payload):
            self.skip(attempt, "when")
            return False
        self._send(attempt, payload, wire.envelopes[place])
        return True

    def _choose(self, attempt: Attempt) -> int:
        """Find the place of the variant that applies. While that is unknown, an error counts as in the strictest."""
        variants = attempt.wire.plan.variants
        attempt.variant = strictest(variants)
        payload = attempt.before = self.payload_of(attempt)
        for place, variant in enumerate(variants):
            attempt.variant = strictest(variants[place:])
            if variant.when is None or self.evaluate(variant.when, attempt, payload):
                return place
        return len(variants) - 1

    def _unmet(self, attempt: Attempt, unmet: int) -> None:
        other = self.route.wires[unmet].plan.id
        if attempt.variant.mode is not Mode.ENFORCE:
            self.skip(attempt, "need")
            return
        stands = self.machine.stages[unmet].value
        attempt.fault = StageFault("NeedUnmet", "penstock.need_unmet", f"it needs {other}, which is {stands}")
        attempt.why = "need"
        attempt.state = StageState.FAILED

    def skip(self, attempt: Attempt, why: str) -> None:
        attempt.state = StageState.SKIPPED
        attempt.why = why
        attempt.out = attempt.wire.plan.otherwise

    def _send(self, attempt: Attempt, payload: Body, envelope: bytes) -> None:
        wire = attempt.wire
        run = self.id.encode()
        inputs = b"{}"
        if wire.plan.inputs:
            inputs = encoded(inputs_of(wire.plan.inputs, partial(self.evaluate, attempt=attempt, payload=payload)))
        attempt.invocation = Invocation(
            envelope,
            run,
            run + wire.key,
            inputs,
            self.context_of(attempt).raw,
            payload.raw,
            1,
            self.encoded_trace if self.trace else NO_TRACE,
        )
        attempt.deadline = min(attempt.started + attempt.variant.timeout_seconds, self.deadline)
        attempt.tried = 1
        if self.mocks is not None and self.is_mocked(wire.plan.index):
            self.answered(attempt, self.mocks[wire.plan.id])
        elif wire.breaker is None:
            wire.generation.submit(attempt)
        else:
            self._submit(attempt, attempt)

    def is_mocked(self, stage: int) -> bool:
        """Whether a stage is answered in its plugin's stead."""
        return self.mocks is not None and self.route.wires[stage].plan.id in self.mocks

    def _submit(self, attempt: Attempt, call: Call) -> None:
        """Let the breaker of the stage see the call, then the plugin."""
        if attempt.wire.breaker is not None:
            found = admit(attempt.wire.breaker)
            if isinstance(found, StageFault):
                self._refused(attempt, found)
                return
            attempt.permit = found
        attempt.wire.generation.submit(call)

    def _refused(self, attempt: Attempt, refusal: StageFault) -> None:
        """End a stage whose breaker is open. Where an earlier try failed, and may have opened it, that is the error."""
        if attempt.earlier is not None:
            attempt.tried -= 1
            refusal = replace(attempt.earlier, final=True)
        self.failed(attempt, refusal)

    def _conclude(self, attempt: Attempt, fault: StageFault | None) -> None:
        """Tell the breaker what came of a try."""
        breaker, permit = attempt.wire.breaker, attempt.permit
        assert breaker is not None and permit is not None
        attempt.permit = None
        conclude(breaker, permit, fault)

    def _tries_again(self, attempt: Attempt, fault: StageFault) -> bool:
        """Wait for another try, if there may be one and it could begin before the deadline."""
        assert attempt.wire.retries is not None
        trail = attempt.trail = attempt.trail or attempt.wire.retries.begin()
        pause = trail.pause(fault)
        if pause is None or self.clock.now() + pause >= self.deadline:
            return False
        attempt.earlier = fault
        attempt.alarm = self.clock.later(pause, partial(self._try_again, attempt))
        return True

    def _try_again(self, attempt: Attempt) -> None:
        attempt.alarm = None
        attempt.tried += 1
        invocation = msgspec.structs.replace(attempt.invocation, attempt=attempt.tried)
        deadline = min(self.clock.now() + attempt.variant.timeout_seconds, self.deadline)
        call = attempt.current = Repeat(attempt, invocation, deadline)
        try:
            self._submit(attempt, call)
        except Exception:  # noqa: BLE001  as in tell
            self._crash("retry")

    def _abandon(self, stage: int) -> None:
        attempt = self.attempts[stage]
        if attempt is None or attempt.state is not StageState.RUNNING:
            return
        attempt.state = StageState.CANCELLED
        attempt.why = "ended"
        attempt.ended = self.clock.now()
        if attempt.permit is not None:
            self._conclude(attempt, ABANDONED)
        if attempt.alarm is not None:
            attempt.alarm.cancel()
        elif attempt.tried:
            attempt.wire.generation.cancel(attempt.current or attempt)

    # Judging an answer.

    def judge(self, attempt: Attempt, result: msgspec.Raw | bytes) -> None:
        answer = read_answer(result, self.route.plan.hook.answer)
        if answer is NOTHING:
            attempt.state = SUCCEEDED
            return
        mode = attempt.variant.mode
        state = state_after(answer, mode)
        if state is SUCCEEDED:
            self._apply(attempt, answer, keep=mode is not AUDIT)
        attempt.out = answer.out
        attempt.violation = answer.violation
        if answer.violation is not None:
            attempt.why = "violation"
        attempt.state = state

    def _apply(self, attempt: Attempt, answer: StageAnswer, *, keep: bool) -> None:
        """Take over what the stage changed; raises BadAnswer before anything is. An audited answer is only judged."""
        plan = attempt.wire.plan
        changed = self._changed_payload(attempt, answer) if answer.changes_payload() else None
        if not keep:
            return
        attempt.answer = answer
        if answer.hints is not None or answer.result is not None:
            self.gave = True
        if changed is not None:
            self.changes = self.changes or Overlay(self.seen)
            self.changes.write(plan.index, plan.ancestors, *changed)
        if answer.state:
            before = self._state_of(plan.ancestors)
            after = apply_patch(before.tree, answer.state)
            assert isinstance(after, dict)  # an object was patched with an object
            self.state_changes = self.state_changes or Overlay(before)
            self.state_changes.write(plan.index, plan.ancestors, diff(before.tree, after), Body.of(after))

    def _changed_payload(self, attempt: Attempt, answer: StageAnswer) -> tuple[Writes, Body] | None:
        """What the stage wrote and what it left; None when that is what it saw. Raises BadAnswer."""
        assert attempt.before is not None
        plan = attempt.wire.plan
        before = attempt.before.tree
        after = payload_after(answer, attempt.before)
        writes = diff(before, after.tree)
        if writes and plan.writes is not None:
            outside = first_outside(writes, [path[1:] for path in plan.writes], before)
            if outside is not None:
                raise BadAnswer(f"it changed payload.{'.'.join(outside)}, which its manifest does not list in `writes`")
        return (writes, after) if writes else None

    def blame(self, attempt: Attempt, fault: StageFault) -> None:
        attempt.fault = fault
        attempt.why = "error"
        attempt.answer = NOTHING
        attempt.state = state_after_error(attempt.variant.on_error)
        if attempt.state is StageState.SKIPPED:
            attempt.out = attempt.wire.plan.otherwise

    # What a stage sees.

    def payload_of(self, attempt: Attempt) -> Body:
        """The run's payload, with the writes of the ancestors of `attempt`. Raises MergeConflict."""
        return self.seen if self.changes is None else self.changes.seen_by(attempt.wire.plan.ancestors)

    def _state_of(self, ancestors: int) -> Body:
        if self.state_changes is not None:
            return self.state_changes.seen_by(ancestors)
        state = self.context.tree.get("state")
        return Body.of(state if isinstance(state, dict) else {})

    def context_of(self, attempt: Attempt) -> Body:
        """The run's context, with the state that the ancestors of `attempt` left. Raises MergeConflict."""
        if self.state_changes is None:
            return self.context
        if attempt.context is None:
            state = self.state_changes.seen_by(attempt.wire.plan.ancestors)
            is_ours = state is self.state_changes.base
            attempt.context = self.context if is_ours else Body.of({**self.context.tree, "state": state.tree})
        return attempt.context

    def evaluate(self, expression: Expression, attempt: Attempt, payload: Body) -> object:
        context = self.context_of(attempt).tree
        return expression.evaluate({"payload": payload.tree, "context": context, "stages": self.stages_seen()})

    def stages_seen(self) -> dict[str, object]:
        return {
            attempt.wire.plan.id: {"state": attempt.state.value, "out": attempt.out or {}}
            for attempt in self.attempts
            if attempt is not None
        }

    # The end.

    def _conflict(self, error: MergeConflict) -> StageFault:
        first, second = (self.route.wires[stage].plan.id for stage in error.stages)
        where = ".".join(error.path)
        text = f"{first} and {second} wrote {where!r} differently and neither needs the other"
        return StageFault("MergeConflict", "penstock.merge_conflict", text)

    def _finish(self, end: Finish) -> None:
        self.reckon(end)
        self._end()

    def reckon(self, end: Finish) -> None:
        """Make the verdict of what the stages left."""
        if end.denied:
            self._deny(self.attempts[end.by] if end.by >= 0 else None)
            return
        try:
            self._allow()
        except MergeConflict as error:
            self.fault = self._conflict(error)
            self._deny(None)

    def _end(self) -> None:
        self.ended = self.clock.now()
        # Nothing calls back any more: without these two the run would be a cycle, left to the garbage collector.
        for attempt in self.attempts:
            if attempt is not None:
                attempt.run = None
        done, self.done = self.done, _over
        done(self)

    def _deny(self, attempt: Attempt | None) -> None:
        self.denied = True
        if attempt is not None:
            self.fault = attempt.fault
            self.violation = attempt.violation
        if self.violation is None and self.fault is not None:
            self._deny_for(self.fault, attempt)

    def _deny_for(self, fault: StageFault, attempt: Attempt | None) -> None:
        fallback = self.route.plan.fallback
        reason = fault.message
        if fallback is not None and fault.kind in fallback.on:
            if fallback.allow:
                self.denied = False
                return
            reason = fallback.reason
        self.violation = self._violation_of(fault, reason, attempt)

    def _violation_of(self, fault: StageFault, reason: str, attempt: Attempt | None) -> Violation:
        details: dict[str, object] = {"pipeline": self.route.plan.name}
        if attempt is not None:
            details["stage"] = attempt.wire.plan.id
        return Violation(code=fault.code, reason=reason, details=details)

    def _allow(self) -> None:
        """Settle what a last stage that needs every stage would see. Raises MergeConflict."""
        payload = self.seen if self.changes is None else self.changes.final()
        state = None if self.state_changes is None else self.state_changes.final().tree
        if self.gave:
            self.result = result_of(self.attempts)
            self.hints = hints_of(self.attempts)
        self.payload = payload
        self.state = state
