"""A run that goes on after its verdict: it undoes what it did, awaits its confirmation, performs `finally`.

A durable one tells its journal of every event and performs what follows only when that is synced. The caller's answer
waits for the sync of the verdict and for nothing that comes later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec

from orchestrator.clock import Alarm, Clock
from orchestrator.engine.attempt import Attempt
from orchestrator.engine.compensation import Compensations
from orchestrator.engine.finals import Finally
from orchestrator.engine.traversal import Traversal
from orchestrator.engine.wiring import Route
from orchestrator.faults import INTERNAL, StageFault
from pipelines.body import Body
from pipelines.plan import StageState
from pipelines.run import (
    BEGIN,
    Answered,
    Close,
    Command,
    Compensate,
    Confirmed,
    Event,
    Finals,
    FinalsEnded,
    Finish,
    Halt,
    Invoke,
    Parked,
    Phase,
    Resume,
    Revoke,
    Settled,
    Undo,
    advance,
)

__all__ = ["Lasting", "Recorder", "Synced", "Taken"]

log = logging.getLogger("penstock.run")

WRITING_SECONDS = 0.1
"""What a journal may take to write down a stage that ended with the deadline, before the caller is answered without."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A run of the pipeline has the idempotency key already. `same` says whether it was called with the same data."""

    run: str
    same: bool


Synced = Callable[[StageFault | Taken | None], None]
"""Told once: None when the event is durable, else why it is not."""


class Recorder(Protocol):
    """Where a durable run is written down."""

    def note(self, run: Lasting, event: Event, commands: tuple[Command, ...], synced: Synced) -> None:
        """Write down that `event` happened and what it caused; `synced` is called in the order of the notes."""

    def awaits(self, run: Lasting, seconds: float, done: Callable[[], None] | None = None) -> None:
        """Write down until when the run's verdict must be confirmed; `done` is called when that is durable, or never
        will be.
        """


class Lasting(Traversal):
    """`done` is called when the verdict is settled, and durable where the run is; `closed` when nothing is left to do.

    What it allowed is final with `confirm`, and undone with `revoke`; until then it waits, at most `confirm_seconds` of
    its pipeline from `delivered` on. `key` is the caller's own name for it, `seq` counts what is journaled.
    `answered_with` is whether its caller was told deny, None before that. `stranded` says why it was left to the next
    start of the host. `tallied` is what its undos were counted as, None before its verdict was.
    """

    answered_with: bool | None = None
    recorder: Recorder | None = None
    key: str | None = None
    seq = 0
    over = False
    stranded: StageFault | None = None
    revoked_for = ""
    tallied: tuple[Undo | None, ...] | None = None
    _alarm: Alarm | None = None
    _crashed = False
    _unborn = False  # nothing more is written down of a run before the journal took it in

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
        closed: Callable[[Lasting], None],
        yields: Callable[[Taken], None] = lambda taken: None,
        mocks: Mapping[str, bytes] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(id, route, payload, context, started, deadline, clock=clock, done=done, mocks=mocks)
        self.closed = closed
        self.yields = yields
        self.recorder = recorder
        self.began = clock.wall()
        self.compensations = Compensations(self)
        self.finally_ = Finally(self)
        self._callers: list[Callable[[Traversal], None]] = []
        self._hearers: list[Callable[[Lasting], None]] = []
        self._confirmer: Callable[[bool], object] = bool

    @property
    def status(self) -> str:
        """running, confirming, or how it ended: completed, undone, parked. What is stranded in a journal still runs."""
        if self.stranded is not None:
            return "running" if self.recorder is not None else "parked"
        if self.machine.phase is not Phase.OVER:
            return "confirming" if self.waits_for_caller else "running"
        if self.machine.parked:
            return "parked"
        return "undone" if Undo.DONE in self.machine.undos else "completed"

    @property
    def reason(self) -> str:
        """Why it stands as it does: what it waits for when parked, why it was undone, the code of its denial; or ""."""
        if self.machine.parked:
            return "a compensation is parked"
        return self.revoked_for or (self.violation.code if self.violation is not None else "")

    @property
    def undo_states(self) -> tuple[Undo | None, ...]:
        """Where the undo of each stage stands; None where nothing was to be undone."""
        return tuple(None if one is None or one.undo is None else one.undo.state for one in self.attempts)

    # What others ask of it.

    def start(self) -> None:
        """Begin. A journal that is too slow must not keep the caller beyond the deadline."""
        self.watch_deadline()
        super().start()

    def watch_deadline(self) -> None:
        """Answer by the deadline whatever happens."""
        if self.recorder is not None:
            self._set_alarm(self.deadline + WRITING_SECONDS - self.clock.now(), self._late)

    @property
    def waits_for_caller(self) -> bool:
        """Whether nothing goes on before somebody confirms or revokes it."""
        return self.machine.phase is Phase.CONFIRMING and self.stranded is None

    def join(self, done: Callable[[Traversal], None]) -> None:
        """Call `done` too when the verdict is settled, at once when it is: a caller came back with the run's key."""
        if self.answered_with is None:
            self._callers.append(done)
        else:
            done(self)

    def hear(self, closed: Callable[[Lasting], None]) -> None:
        """Call `closed` when the run is over, at once when it is."""
        if self.over:
            closed(self)
        else:
            self._hearers.append(closed)

    def delivered(self) -> None:
        """The caller has the verdict. What needs no confirmation is final now."""
        if self.waits_for_caller and not self.revoked_for and not self.denied:
            seconds = self.route.plan.confirm_seconds
            if seconds is None:
                self._confirm()
            else:
                self.await_confirmation(seconds)

    def await_confirmation(self, seconds: float, *, noted: bool = False) -> None:
        """Undo what was allowed unless it is confirmed within so many seconds. `noted`: the journal knows."""
        if self.recorder is not None and not noted:
            self.recorder.awaits(self, seconds)
        self._set_alarm(seconds, partial(self._unconfirmed, seconds))

    def _unconfirmed(self, seconds: float) -> None:
        self.revoke(f"its verdict was not confirmed within {seconds:g} s")

    def confirm(self, done: Callable[[bool], object] = bool) -> bool:
        """The caller did what the verdict allowed; False when there is nothing (any more) to confirm.

        `done` is told True when that is durable, False when it will not be.
        """
        if not self.waits_for_caller or self.revoked_for or self.denied:
            return False
        self._confirmer = done
        self._confirm()
        return True

    def _confirm(self) -> None:
        self._cancel_alarm()  # or it could ring while the confirmation is synced
        self.tell(Confirmed())

    def condemn(self, why: str, done: Callable[[], None]) -> None:
        """Let nobody confirm it any more: it will be revoked when those that came after it are undone.

        `done` is called when that is durable, so that no caller is told deny and finds the run allowed after a crash.
        """
        self.revoked_for = self.revoked_for or why
        self._cancel_alarm()
        if self.recorder is not None and self.waits_for_caller:
            self.recorder.awaits(self, 0.0, done)
        else:
            done()

    def revoke(self, why: str) -> bool:
        """Undo what the run did although it was allowed; False when it cannot be undone now."""
        if self.stranded is not None or self.denied or self.machine.unwinds:
            return False
        if self.machine.phase not in (Phase.CONFIRMING, Phase.OVER):
            return False
        self._go_on()
        self.revoked_for = self.revoked_for or why
        self.tell(Revoke())
        return True

    def resume(self) -> bool:
        """Try parked compensations again; False when none is parked."""
        if self.machine.phase is not Phase.OVER or not self.machine.parked:
            return False
        self._go_on()
        self.tell(Resume())
        return True

    def park(self, why: str) -> bool:
        """Leave the compensations that are under way to a human; False when there is none."""
        found = self.compensations.under_way
        self.compensations.give_up(StageFault("Parked", "penstock.parked", why, final=True))
        return found

    def _go_on(self) -> None:
        self._cancel_alarm()
        self.compensations.allow_time()
        self.over = False

    # Events in, commands out.

    def answered(self, attempt: Attempt, result: msgspec.Raw | bytes) -> None:
        """A plugin answered; what is journaled is what it said."""
        if self.recorder is not None:
            attempt.said = bytes(result)
        super().answered(attempt, result)

    def tell(self, event: Event) -> None:
        """Follow `event` and all that it causes. Events that come up meanwhile wait for its commands."""
        if self.stranded is not None:
            return  # what is told now would leave a gap in the journal
        self.inbox.append(event)
        if len(self.inbox) == 1:
            self._work_off()

    def _work_off(self) -> None:
        try:
            while self.inbox and not self._unborn:
                # What was cancelled with the verdict may have ended meanwhile.
                if not (self.machine.decided and isinstance(self.inbox[0], Settled | Halt)):
                    self._follow(self.inbox[0])
                del self.inbox[:1]
        except Exception:  # noqa: BLE001  a bug of ours must end the run, not leave it waiting
            self._crash("run")

    def _follow(self, event: Event) -> None:
        self.machine, commands = advance(self.route.shape, self.machine, event)
        if self.recorder is None:
            self._carry_out(event, tuple(commands))
        else:
            self._unborn = event is BEGIN
            self.recorder.note(self, event, tuple(commands), partial(self._synced, event, tuple(commands)))

    def _synced(self, event: Event, commands: tuple[Command, ...], outcome: StageFault | Taken | None) -> None:
        if self.stranded is not None:
            return
        if isinstance(outcome, Taken):
            self._give_way(outcome)
            return
        if outcome is not None:
            self._strand(outcome)
            return
        if self._unborn:
            self._unborn = False
            if self.inbox and self.inbox[0] is not BEGIN:
                self._work_off()  # it was ended meanwhile, so nothing is called
        try:
            self._carry_out(event, commands)
        except Exception:  # noqa: BLE001  as in tell
            self._crash("journal")

    def _carry_out(self, event: Event, commands: tuple[Command, ...]) -> None:
        if isinstance(event, Answered):
            self._deliver(event)
        elif isinstance(event, Confirmed):
            self._confirmer(True)
        for command in commands:
            self._perform(command)

    def _perform(self, command: Command) -> None:
        match command:
            case Invoke(stage):
                # While the event was synced, another one may have ended the run.
                if self.machine.stages[stage] is StageState.RUNNING:
                    super()._perform(command)
            case Compensate(stage):
                self.compensations.start(stage)
            case Finals():
                self.finally_.start()
            case Close() if self.machine.phase is not Phase.OVER:
                pass  # it was taken up again while its end was synced
            case Close():
                self.compensations.note_those_that_wait()
                self._close()
            case _:
                super()._perform(command)

    def perform(self, commands: tuple[Command, ...]) -> None:
        """Perform what a run that was read back from its journal waits for."""
        try:
            for command in commands:
                self._perform(command)
        except Exception:  # noqa: BLE001  as in tell
            self._crash("recovery")

    # The verdict.

    def refuse(self, fault: StageFault) -> None:
        """Deny a run that never began."""
        super().refuse(fault)
        self.over = True

    def _finish(self, end: Finish) -> None:
        if self.answered_with is None:
            self.reckon(end)
        self._end()

    def _end(self) -> None:
        self.ended = self.clock.now()
        self.tell(Answered(self.denied, awaits=not self.denied))

    def conclude(self) -> None:
        """Settle the verdict of a run whose stages have all ended."""
        self._end()

    def _deliver(self, event: Answered) -> None:
        self._cancel_alarm()
        if self.answered_with is None:
            self._answer(event.denied)
        elif self.answered_with and not event.denied:
            self.revoked_for = "its caller was told deny, because the journal was late"
            self.tell(Revoke())

    def _answer(self, denied: bool) -> None:
        self.answered_with = denied
        super()._end()
        callers, self._callers = self._callers, []
        for done in callers:
            done(self)

    def _deny_now(self, fault: StageFault) -> None:
        """Answer the caller whatever the journal does."""
        if self.answered_with is None:
            self.deny_for(fault)
            self._answer(True)

    def deny_for(self, fault: StageFault | None) -> None:
        """Make the verdict a denial, whatever the stages left."""
        self.violation = None
        self.fault = fault
        self.payload = self.seen
        self.denied = True
        if fault is not None:
            self._deny_for(fault, None)
        if not self.denied and fault is not None:
            self.denied = True  # a fallback that allows is for what the pipeline's stages did, not for this
            self.violation = self._violation_of(fault, fault.message, None)

    def _late(self) -> None:
        text = "the run's deadline passed while its journal was written"
        self._deny_now(StageFault("DeadlineExceeded", "penstock.timeout", text))
        self.tell(Halt())

    def _strand(self, fault: StageFault) -> None:
        """Nothing more can be done here: answer, stop, and leave the rest to the next start."""
        self.stranded = fault
        self.inbox.clear()
        self._confirmer(False)
        for stage in range(len(self.attempts)):
            try:
                self._abandon(stage)
            except Exception:
                log.exception("run.crashed", extra={"run": self.id, "where": "cancel"})
        self._deny_now(fault)
        self._close()

    def _crash(self, where: str) -> None:
        """After a bug of ours go on from where the machine stands, denied; after a second one give up."""
        log.exception("run.crashed", extra={"run": self.id, "where": where})
        if self.stranded is not None:
            return
        if self._crashed:
            self._strand(INTERNAL)
            return
        self._crashed = True
        self.inbox.clear()
        try:
            self._go_on_after_a_bug()
        except Exception:
            log.exception("run.crashed", extra={"run": self.id, "where": "crash"})
            self._strand(INTERNAL)

    def _go_on_after_a_bug(self) -> None:
        match self.machine.phase:
            case Phase.RUNNING:
                self.fault = INTERNAL
                self.tell(Halt())
            case Phase.DECIDED:
                self.deny_for(INTERNAL)
                self.conclude()
            case Phase.UNDOING if self.compensations.stuck:
                for stage in self.compensations.stuck:
                    self.tell(Parked(stage))
            case Phase.FINISHING:
                self.tell(FinalsEnded())
            case _:
                self._strand(INTERNAL)

    def _give_way(self, taken: Taken) -> None:
        """Another run has the key: this one never was."""
        self._cancel_alarm()
        self.over = True
        self.answered_with = True
        self.yields(taken)

    # The end.

    def _close(self) -> None:
        self._cancel_alarm()
        self.over = True
        hearers, self._hearers = self._hearers, []
        self.closed(self)
        for hear in hearers:
            hear(self)

    def _set_alarm(self, seconds: float, call: Callable[[], None]) -> None:
        self._cancel_alarm()
        self._alarm = self.clock.later(max(0.0, seconds), call)

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
