"""A call that a run makes after its verdict, an undo or a stage of `finally`: tried until it is done or time is up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from isolation.call import Call
from isolation.errors import CallError
from isolation.protocol.messages import Invocation
from orchestrator.clock import Alarm, Clock
from orchestrator.engine.wiring import Callee
from orchestrator.faults import INTERNAL, StageFault, fault_of
from orchestrator.resilience.retry import Retries, Trail

__all__ = ["AfterCall", "Witness"]


log = logging.getLogger("penstock.run")


class Witness(Protocol):
    """Who looks at each try: a breaker lets it through, or only hears of it."""

    def before(self) -> StageFault | None:
        """Why the try must not be made."""

    def after(self, fault: StageFault | None) -> None:
        """What came of it; None is an answer."""


class _Try(Call):
    def __init__(self, owner: AfterCall, invocation: Invocation, deadline: float) -> None:
        super().__init__(invocation, deadline)
        self.owner = owner

    def answered(self, result: msgspec.Raw) -> None:
        self.owner.answered(bytes(result))

    def failed(self, error: CallError) -> None:
        self.owner.failed(fault_of(error))


class AfterCall:
    """Begin it with `start`; `done` is called once, with what came of it in `fault`: None when it succeeded. `answer`
    is what its plugin said last, None where it said nothing.

    `judge` says why an answer is none. `deadline` bounds all tries together, `timeout` each of them (seconds).
    """

    fault: StageFault | None = None
    answer: bytes | None = None
    started = 0.0
    tried = 0
    ended = False
    _trail: Trail | None = None
    _alarm: Alarm | None = None
    _call: _Try | None = None

    def __init__(
        self,
        invocation: Invocation,
        generation: Callee,
        retries: Retries | None,
        witness: Witness | None,
        *,
        timeout: float,
        deadline: float,
        clock: Clock,
        judge: Callable[[bytes], str | None],
        done: Callable[[AfterCall], None],
    ) -> None:
        self.invocation = invocation
        self.generation = generation
        self.deadline = deadline
        self._retries = retries
        self._witness = witness
        self._timeout = timeout
        self._clock = clock
        self._judge = judge
        self._done = done

    def start(self) -> None:
        """Make the first try. `done` may be called before this returns."""
        self.started = self._clock.now()
        self._try()

    @property
    def worker(self) -> str:
        """Which worker it was written to last; "" before."""
        return "" if self._call is None else self._call.worker

    def _try(self) -> None:
        self._alarm = None
        refusal = self._witness.before() if self._witness is not None else None
        if refusal is not None:
            self._end(refusal)
            return
        self.tried += 1
        invocation = msgspec.structs.replace(self.invocation, attempt=self.tried)
        deadline = min(self._clock.now() + self._timeout, self.deadline)
        self._call = _Try(self, invocation, deadline)
        try:
            self.generation.submit(self._call)
        except Exception:  # noqa: BLE001  a bug of ours must not leave the run waiting
            self._crash()

    def answered(self, result: bytes) -> None:
        """Take the plugin's answer."""
        self.answer = result
        try:
            said = self._judge(result)
            if said is None:
                self._report(None)
                self._end(None)
            else:
                self._failed(StageFault("PluginError", "penstock.plugin_error", said))
        except Exception:  # noqa: BLE001  as in _try
            self._crash()

    def failed(self, fault: StageFault) -> None:
        """Take the reason why there is none, and try again if there is time."""
        try:
            self._failed(fault)
        except Exception:  # noqa: BLE001  as in _try
            self._crash()

    def _failed(self, fault: StageFault) -> None:
        self._report(fault)
        if self.ended:
            return
        if self._retries is not None:
            self._trail = self._trail or self._retries.begin()
            pause = self._trail.pause(fault)
            if pause is not None and self._clock.now() + pause < self.deadline:
                self._alarm = self._clock.later(pause, self._try)
                return
        self._end(fault)

    def _crash(self) -> None:
        run, key = self.invocation.run.decode(), self.invocation.key.decode()
        log.exception("aftercall.crashed", extra={"run": run, "key": key})
        self._end(INTERNAL)
        self._report(INTERNAL)  # a permit that is still out must come back

    def _report(self, fault: StageFault | None) -> None:
        if self._witness is not None:
            self._witness.after(fault)

    def give_up(self, fault: StageFault) -> None:
        """End now, failed for `fault`; a try that is under way is dropped."""
        if self.ended:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        elif self._call is not None:
            self.generation.cancel(self._call)
            self._report(fault)
        self._end(fault)

    def _end(self, fault: StageFault | None) -> None:
        if not self.ended:
            self.ended = True
            self.fault = fault
            self._done(self)
