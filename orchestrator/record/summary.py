"""What stays of a run when it is over: everything but payloads, outs and details. Taken quickly, read later.

What plugins say may quote what they saw, so of every message only the beginning of its first line stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, Self

import msgspec

from isolation.spec import WorkerSpec
from orchestrator.contexts import request_id_of
from orchestrator.engine.attempt import Attempt, UndoRecord
from orchestrator.engine.finals import FinalRecord
from orchestrator.engine.lasting import Lasting
from orchestrator.engine.traversal import Traversal
from orchestrator.faults import StageFault
from pipelines.answer import Violation
from pipelines.plan import PipelinePlan, StagePlan, StageState, Variant
from pipelines.run import Effect

__all__ = ["SAID_CHARACTERS", "StageEnd", "Summary", "brief", "milliseconds"]

SAID_CHARACTERS = 200
"""Of what a plugin said: enough to know the trouble again, too little to be an archive of payloads."""

_Json = dict[str, object]


class _Said(NamedTuple):
    """What few stages have."""

    undo: _Json | None = None
    violation: _Json | None = None
    error: _Json | None = None


_NOTHING_SAID = _Said()


# Thousands are kept, and nothing in them leads back to them: the garbage collector need not look at any of these.


class _Taken(msgspec.Struct, gc=False, eq=False):
    """A stage that was taken up; moments are the clock's, in seconds."""

    state: StageState
    why: str | None
    started: float
    ended: float
    queued_at: float
    sent_at: float
    tried: int
    spec: WorkerSpec
    worker: str
    effect: Effect | None
    said: _Said
    variant: Variant


class Summary(msgspec.Struct, gc=False, eq=False):
    """One run. `began` is in seconds since 1970; `status` is as in the journal, completed where there is none.

    `verdict` is None while there is none. `troubled` ones were denied, failed, undone or parked, or are not over.
    """

    # Taking one costs every run; so what is the same for nearly all has a default, and what follows from the plan is
    # asked there.
    run_id: str
    plan: PipelinePlan
    request_id: str
    trace: str
    revision: int
    began: float
    seconds: float
    verdict: str | None
    stages: tuple[_Taken | None, ...]
    status: str = "completed"
    reason: str = ""
    troubled: bool = False
    violation: _Json | None = None
    error: _Json | None = None
    finals: Mapping[str, _Json] = MappingProxyType({})

    @classmethod
    def of(cls, run: Traversal) -> Self:
        """Take what is to stay of a run."""
        if not run.began:
            run.began = run.clock.wall() - run.clock.now() + run.started
        route, ended = run.route, run.ended
        summary = cls(
            run.id,
            route.plan,
            request_id_of(run.context),
            run.trace,
            route.revision,
            run.began,
            ended - run.started if ended else 0.0,
            run.verdict if ended else None,
            tuple(map(_taken, run.attempts)),
        )
        if run.denied or run.fault is not None:
            summary._take_trouble(run)
        if isinstance(run, Lasting):
            summary._take_end(run)
        return summary

    def _take_trouble(self, run: Traversal) -> None:
        self.troubled = True
        if run.violation is not None:
            self.reason = brief(run.violation.code)
            self.violation = _violation(run.violation)
        self.error = None if run.fault is None else _fault(run.fault)

    def _take_end(self, run: Lasting) -> None:
        self.status = run.status
        self.reason = brief(run.reason)
        self.finals = {one.id: _final(one) for one in run.finally_.records}
        self.troubled = self.troubled or self.status != "completed"

    @property
    def pipeline(self) -> str:
        """Its pipeline's name."""
        return self.plan.name

    @property
    def durable(self) -> bool:
        """Whether a journal knows of it."""
        return self.plan.durable

    def succeeded(self, stage: str) -> bool:
        """Whether a stage was asked and had nothing against it."""
        for plan, taken in zip(self.plan.stages, self.stages, strict=True):
            if plan.id == stage:
                return taken is not None and taken.state is StageState.SUCCEEDED and taken.said.violation is None
        return False

    def ends(self) -> Iterator[StageEnd]:
        """How each stage that was taken up ended."""
        for stage, taken in zip(self.plan.stages, self.stages, strict=True):
            if taken is not None:
                seconds, failed = taken.ended - taken.started, taken.said.error is not None
                yield StageEnd(stage, taken.state, taken.tried, seconds, failed=failed)

    def record(self) -> _Json:
        """The JSON object of `penstock runs`."""
        stages = zip(self.plan.stages, self.stages, strict=True)
        return {
            "run_id": self.run_id,
            "pipeline": self.plan.name,
            "hook": self.plan.hook.name,
            "verdict": self.verdict,
            "status": self.status,
            "reason": self.reason,
            "durable": self.plan.durable,
            "began": round(self.began, 3),
            "request_id": self.request_id,
            "trace": self.trace,
            "revision": self.revision,
            "violation": self.violation,
            "error": self.error,
            "duration_ms": milliseconds(self.seconds) if self.verdict is not None else None,
            "stages": {stage.id: _stage(stage, taken) for stage, taken in stages},
            "finally": dict(self.finals),
        }


class StageEnd(NamedTuple):
    """How a stage of a run ended: what it came to, how often its plugin was asked, and what that took."""

    stage: StagePlan
    state: StageState
    tried: int
    seconds: float
    failed: bool


_NEVER: Mapping[str, object] = {
    "state": StageState.CANCELLED.value,
    "why": "ended",
    "duration_ms": 0.0,
    "queued_ms": 0.0,
    "attempts": 0,
    "generation": None,
    "worker": None,
    "version": None,
    "mode": None,
    "config": None,
    "effect": "none",
    "undo": None,
    "violation": None,
    "error": None,
}
"""A stage that was never taken up: the run had ended before its turn."""


def _taken(attempt: Attempt | None) -> _Taken | None:
    if attempt is None:
        return None
    wire = attempt.wire
    quiet = attempt.fault is None and attempt.violation is None and attempt.undo is None
    return _Taken(
        attempt.state,
        attempt.why,
        attempt.started,
        attempt.ended,
        attempt.queued_at,
        attempt.sent_at,
        attempt.tried,
        wire.generation.spec,
        (attempt.current or attempt).worker,
        None if wire.undo is None else attempt.effect,
        _NOTHING_SAID if quiet else _said(attempt),
        attempt.variant,
    )


def _said(attempt: Attempt) -> _Said:
    return _Said(
        None if attempt.undo is None else _undo(attempt.undo),
        None if attempt.violation is None else _violation(attempt.violation),
        None if attempt.fault is None else _fault(attempt.fault),
    )


def _stage(stage: StagePlan, taken: _Taken | None) -> _Json:
    shown = dict(_NEVER) if taken is None else _fields(taken)
    return {**shown, "at": None if stage.mark is None else str(stage.mark), "override": stage.overridden or None}


def _fields(taken: _Taken) -> _Json:
    spec, said = taken.spec, taken.said
    return {
        "state": taken.state.value,
        "why": taken.why,
        "duration_ms": milliseconds(taken.ended - taken.started),
        "queued_ms": milliseconds((taken.sent_at or taken.ended) - taken.queued_at) if taken.tried else 0.0,
        "attempts": taken.tried,
        "generation": spec.name if taken.tried else None,
        "worker": taken.worker or None,
        "version": spec.version if taken.tried else None,
        "mode": taken.variant.mode.value,
        "config": taken.variant.config,
        "effect": "none" if taken.effect is None else taken.effect.value,
        "undo": said.undo,
        "violation": said.violation,
        "error": said.error,
    }


def _undo(undo: UndoRecord) -> _Json:
    return {
        "state": undo.state.value,
        "plugin": undo.plugin,
        "stage": undo.stage,
        "key": undo.key,
        "undoes": undo.undoes,
        "attempts": undo.tried,
        "error": None if undo.fault is None else _fault(undo.fault),
    }


def _violation(violation: Violation) -> _Json:
    return {"code": brief(violation.code), "reason": brief(violation.reason)}


def _fault(fault: StageFault) -> _Json:
    return {"class": fault.kind, "code": fault.code, "message": brief(fault.message)}


def _final(final: FinalRecord) -> _Json:
    return {
        "state": final.state.value,
        "attempts": final.tried,
        "error": None if final.fault is None else _fault(final.fault),
    }


def brief(text: str) -> str:
    """The beginning of a text's first line."""
    line = text.split("\n", 1)[0]
    return line if len(line) <= SAID_CHARACTERS else line[: SAID_CHARACTERS - 1] + "…"


def milliseconds(seconds: float) -> float:
    """Seconds as records show them, never below zero."""
    return round(max(0.0, seconds) * 1000, 3)
