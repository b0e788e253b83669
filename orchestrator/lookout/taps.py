"""Looks at what one stage is given and what it answers, while it happens.

A run carries a reference to the taps only where there is one; then each stage that is tapped costs a look at the clock,
and a few times a second a line. What is shown is made when the reader asks for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import msgspec

from isolation.protocol.messages import Invocation
from orchestrator.contexts import request_id_of
from orchestrator.engine.aftercall import AfterCall
from orchestrator.engine.attempt import Attempt
from orchestrator.engine.finals import FinalRecord
from orchestrator.engine.traversal import Traversal
from orchestrator.engine.wiring import Wire
from orchestrator.faults import StageFault
from orchestrator.lookout.feed import Feed, Missed
from orchestrator.lookout.redaction import redacted, shortened
from orchestrator.record.summary import brief, milliseconds

__all__ = ["SHOWN_PER_SECOND", "Tap", "Taps"]

SHOWN_PER_SECOND = 20
"""What somebody can read at most, as a mean: the calls of a second may come at once. Of a busier stage the rest is
counted."""

QUEUED_CALLS = 64
QUEUED_BYTES = 8 * 1024 * 1024
"""What may wait for the reader: payloads are held as they are until then."""

_ROUNDING = 1e-6

MOST_BYTES = 256 * 1024
"""A larger payload or answer is not taken apart: that would hold the loop."""


_Record = dict[str, object]


@dataclass(frozen=True, slots=True)
class _Seen:
    """One call of a stage, at so many seconds since 1970; what is shown of it is made by `show`."""

    run: Traversal
    wire: Wire
    show: Callable[[], _Record]
    at: float
    passed: int


class Tap:
    """One reader's look at a stage, in one pipeline or in all."""

    def __init__(self, stage: str, pipeline: str | None, *, values: bool) -> None:
        self.stage = stage
        self.pipeline = pipeline
        self._show = shortened if values else redacted
        self._values = values
        self._feed = Feed[_Seen](QUEUED_CALLS, QUEUED_BYTES)
        self._paid = 0.0  # the moment until which what was shown takes up the allowance
        self._passed = 0

    def wants(self, run: Traversal, stage: str) -> bool:
        """Whether it looks at this stage of this run."""
        return stage == self.stage and self.pipeline in (None, run.route.plan.name)

    def take(self, run: Traversal, attempt: Attempt, answer: bytes | None) -> None:
        """Note a call, or only count it."""
        before = attempt.before
        size = (0 if before is None else len(before.raw)) + len(run.context.raw) + len(answer or b"")
        self._take(run, attempt.wire, size, partial(self._of_stage, attempt, answer))

    def take_final(self, run: Traversal, wire: Wire, record: FinalRecord, call: AfterCall | None) -> None:
        """The same for a stage of `finally`."""
        answer = None if call is None else call.answer
        size = len(run.payload.raw) + len(run.context.raw) + len(answer or b"")
        ended = run.clock.now()
        self._take(run, wire, size, partial(self._of_final, record, call, ended))

    def _take(self, run: Traversal, wire: Wire, size: int, show: Callable[[], _Record]) -> None:
        now = run.clock.now()
        paid = max(self._paid, now) + 1 / SHOWN_PER_SECOND
        if paid > now + 1 + _ROUNDING:
            self._passed += 1
            return
        self._paid = paid
        self._feed.put(_Seen(run, wire, show, run.clock.wall(), self._passed), size)
        self._passed = 0

    async def read(self) -> AsyncGenerator[dict[str, object], None]:
        """Each call as `penstock tap --json` shows it."""
        async for seen in self._feed.read():
            yield seen.as_json() if isinstance(seen, Missed) else self._record(seen)

    def _record(self, seen: _Seen) -> _Record:
        run = seen.run
        return {
            "at": round(seen.at, 6),
            "run_id": run.id,
            "request_id": request_id_of(run.context) or None,
            "pipeline": run.route.plan.name,
            "hook": run.route.plan.hook.name,
            "stage": seen.wire.plan.id,
            "generation": seen.wire.generation.spec.name,
            **seen.show(),
            "values": self._values,
            "passed": seen.passed,
        }

    def _of_stage(self, attempt: Attempt, answer: bytes | None) -> _Record:
        said = [attempt.fault.message] if attempt.fault is not None else []
        said += [attempt.violation.reason] if attempt.violation is not None else []
        codes = [one.code for one in (attempt.fault, attempt.violation) if one is not None]
        return {
            "worker": (attempt.current or attempt).worker or None,
            "attempts": attempt.tried,
            "state": attempt.state.value,
            "why": attempt.why,
            "code": brief(codes[0]) if codes else None,
            "reason": self._show(brief(said[0])) if said else None,
            "duration_ms": milliseconds(attempt.ended - attempt.started),
            "given": self._given(attempt.invocation, attempt.fault) if attempt.tried else None,
            "answer": None if answer is None else self._shown(answer),
        }

    def _of_final(self, record: FinalRecord, call: AfterCall | None, ended: float) -> _Record:
        fault, answer = record.fault, None if call is None else call.answer
        return {
            "worker": (call.worker if call is not None else "") or None,
            "attempts": record.tried,
            "state": record.state.value,
            "why": None,
            "code": None if fault is None else brief(fault.code),
            "reason": None if fault is None else self._show(brief(fault.message)),
            "duration_ms": 0.0 if call is None else milliseconds(ended - call.started),
            "given": None if call is None else self._given(call.invocation, fault),
            "answer": None if answer is None else self._shown(answer),
        }

    def _given(self, sent: Invocation, fault: StageFault | None) -> _Record | None:
        if fault is not None and not fault.sent:
            return None  # the plugin saw nothing
        return {
            "payload": self._shown(sent.payload),
            "input": self._shown(sent.input),
            "context": self._shown(sent.context),
        }

    def _shown(self, data: bytes) -> object:
        if len(data) > MOST_BYTES:
            return f"{len(data)} bytes, too many to be taken apart"
        try:
            return self._show(msgspec.json.decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return f"{len(data)} bytes that are no JSON"


class Taps:
    """All taps of a host. `hang` is called with this when the first one opens, and with None when the last one closes:
    whoever makes runs hands them on.
    """

    def __init__(self, hang: Callable[[Taps | None], None]) -> None:
        self._hang = hang
        self._open: list[Tap] = []

    @contextmanager
    def opened(self, tap: Tap) -> Iterator[Tap]:
        """Let a tap see the runs that begin while inside."""
        self._open.append(tap)
        self._hang(self)
        try:
            yield tap
        finally:
            self._open.remove(tap)
            if not self._open:
                self._hang(None)

    def saw(self, run: Traversal, attempt: Attempt, answer: msgspec.Raw | bytes | None) -> None:
        """Hear how a stage of a run ended."""
        for tap in self._open:
            if tap.wants(run, attempt.wire.plan.id):
                tap.take(run, attempt, None if answer is None else bytes(answer))

    def saw_final(self, run: Traversal, wire: Wire, record: FinalRecord, call: AfterCall | None) -> None:
        """Hear how a stage of `finally` ended."""
        for tap in self._open:
            if tap.wants(run, wire.plan.id):
                tap.take_final(run, wire, record, call)
