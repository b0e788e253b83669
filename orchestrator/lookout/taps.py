"""Looks at what one stage is given and what it answers, while it happens.

A run carries a reference to the taps only where there is one; then each stage that is tapped costs a look at the clock,
and a few times a second a line. What is shown is made when the reader asks for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from orchestrator.contexts import request_id_of
from orchestrator.engine.attempt import Attempt
from orchestrator.engine.traversal import Traversal
from orchestrator.lookout.feed import Feed, Missed
from orchestrator.lookout.redaction import redacted, shortened
from orchestrator.record.summary import brief

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


@dataclass(frozen=True, slots=True)
class _Seen:
    """One call of a stage. `answer` is JSON; None where there is none."""

    run: Traversal
    attempt: Attempt
    answer: bytes | None
    at: float
    passed: int

    @property
    def size(self) -> int:
        before = self.attempt.before
        return (0 if before is None else len(before.raw)) + len(self.run.context.raw) + len(self.answer or b"")


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

    def take(self, run: Traversal, attempt: Attempt, answer: bytes | None) -> None:
        """Note a call, or only count it."""
        if self.pipeline not in (None, run.route.plan.name):
            return
        now = run.clock.now()
        paid = max(self._paid, now) + 1 / SHOWN_PER_SECOND
        if paid > now + 1 + _ROUNDING:
            self._passed += 1
            return
        self._paid = paid
        seen = _Seen(run, attempt, answer, run.clock.wall(), self._passed)
        self._passed = 0
        self._feed.put(seen, seen.size)

    async def read(self) -> AsyncGenerator[dict[str, object], None]:
        """Each call as `penstock tap --json` shows it."""
        async for seen in self._feed.read():
            yield seen.as_json() if isinstance(seen, Missed) else self._record(seen)

    def _record(self, seen: _Seen) -> dict[str, object]:
        run, attempt = seen.run, seen.attempt
        said = [attempt.fault.message] if attempt.fault is not None else []
        said += [attempt.violation.reason] if attempt.violation is not None else []
        codes = [one.code for one in (attempt.fault, attempt.violation) if one is not None]
        return {
            "at": round(seen.at, 6),
            "run_id": run.id,
            "request_id": request_id_of(run.context) or None,
            "pipeline": run.route.plan.name,
            "hook": run.route.plan.hook.name,
            "stage": attempt.wire.plan.id,
            "generation": attempt.wire.generation.spec.name,
            "worker": (attempt.current or attempt).worker or None,
            "attempts": attempt.tried,
            "state": attempt.state.value,
            "why": attempt.why,
            "code": brief(codes[0]) if codes else None,
            "reason": self._show(brief(said[0])) if said else None,
            "duration_ms": round(max(0.0, attempt.ended - attempt.started) * 1000, 3),
            "values": self._values,
            "given": self._given(attempt),
            "answer": None if seen.answer is None else self._shown(seen.answer),
            "passed": seen.passed,
        }

    def _given(self, attempt: Attempt) -> dict[str, object] | None:
        if not attempt.tried or (attempt.fault is not None and not attempt.fault.sent):
            return None  # the plugin saw nothing
        sent = attempt.invocation
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
            if tap.stage == attempt.wire.plan.id:
                tap.take(run, attempt, None if answer is None else bytes(answer))
