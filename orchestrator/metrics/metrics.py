"""Counts what a host does, as it does it. What is only looked at is read when somebody asks (`reading.py`).

On the path of every run, so nothing here but additions: no label is looked up, no text made, no lock taken.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from isolation.status import RestartScheduled, WorkerEnded, WorkerNotStarted
from orchestrator.engine.attempt import Attempt
from orchestrator.engine.hookcall import HookCall
from orchestrator.engine.lasting import Lasting
from orchestrator.engine.traversal import Traversal
from orchestrator.events import (
    BreakerChanged,
    CanaryAborted,
    CanaryPromoted,
    ChangeApplied,
    ChangeRefused,
    Event,
    RunParked,
)
from orchestrator.metrics.distribution import DURATION_BOUNDS
from orchestrator.metrics.pulse import Pulse
from orchestrator.metrics.tallies import Codes, Kept, PipelineTally, StageTally, Verdicts
from pipelines.plan import PipelinePlan, StageState
from pipelines.run import Undo

__all__ = ["HEARD", "Metrics", "PluginTally", "Service"]

_ANSWERED = (StageState.SUCCEEDED, StageState.DENIED)

SHORTEST = DURATION_BOUNDS[0]

KNOWN_PLANS = 256
"""Plans whose tallies are found at once. More than any revision has pipelines, and those that drain."""

HEARD = (
    BreakerChanged,
    CanaryAborted,
    CanaryPromoted,
    ChangeApplied,
    ChangeRefused,
    RestartScheduled,
    RunParked,
    WorkerEnded,
    WorkerNotStarted,
)
"""The events that are counted."""


class Service(Protocol):
    """The names that are in service, asked for when those that are not become too many."""

    def hooks(self) -> Set[str]:
        """The hooks that can be called."""

    def routes(self) -> Set[tuple[str, str]]:
        """Hooks and pipelines."""

    def pipelines(self) -> Set[str]:
        """Pipelines."""

    def stages(self) -> Set[tuple[str, str]]:
        """Pipelines and stages."""

    def plugins(self) -> Set[str]:
        """Plugins."""

    def breakers(self) -> Set[tuple[str, str, str]]:
        """Breakers: plugin, stage of the plugin, policy."""

    def breakers_called(self, name: str) -> Iterable[tuple[str, str, str]]:
        """The same of the breaker with this full name."""


class PluginTally:
    """What became of the workers of one plugin."""

    __slots__ = ("planned_ends", "restarts", "start_failures", "unplanned_ends")

    def __init__(self) -> None:
        self.restarts = 0
        self.planned_ends = 0
        self.unplanned_ends = 0
        self.start_failures = 0


@dataclass(frozen=True, slots=True)
class _Tallies:
    """All that the runs of one plan are counted by. It holds the plan, so that no other gets its identity."""

    plan: PipelinePlan
    calls: Verdicts
    verdicts: Verdicts
    pipeline: PipelineTally
    stages: tuple[StageTally, ...]
    counting: tuple[int, ...]
    """The places of stages whose outputs are counted."""


class Metrics:
    """Told of every call by the engine, of the rest by events. `service` says what is in service."""

    def __init__(self, service: Service) -> None:
        self.calls = Kept[str, Verdicts](Verdicts, service.hooks)
        self.refused = Counter[str]()
        self.runs = Kept[tuple[str, str], Verdicts](Verdicts, service.routes)
        self.pipelines = Kept[str, PipelineTally](PipelineTally, service.pipelines)
        self.stages = Kept[tuple[str, str], StageTally](StageTally, service.stages)
        self.plugins = Kept[str, PluginTally](PluginTally, service.plugins)
        self.breakers = Kept[tuple[str, str, str], Counter[str]](Counter, service.breakers)
        self.changes = Counter({"applied": 0, "refused": 0})
        self.canaries = Counter({"promoted": 0, "aborted": 0})
        self.pulse = Pulse()
        self._service = service
        self._known: dict[int, _Tallies] = {}

    # What the engine tells.

    def answered(self, call: HookCall) -> None:
        """Count a call that has its answer, and those of its runs that were not counted before."""
        reply = call.given
        assert reply is not None
        if len(call.runs) == 1 and type(run := call.runs[0]) is Traversal:
            tallies = self._known.get(id(run.route.plan)) or self.learn(run.route.plan)
            tallies.calls[reply.verdict] += 1
            _count(tallies, run, reply.verdict)
            return
        self.calls.of(call.hook)[reply.verdict] += 1
        for run in call.runs:
            if isinstance(run, Lasting):
                self._decided(run)
            else:
                _count(self._tallies(run), run, run.verdict)

    def closed(self, run: Lasting) -> None:
        """Count what followed on the verdict of a run, and the verdict where nobody heard of it: after a crash."""
        self._decided(run)
        before, after = run.tallied or (), run.undo_states
        run.tallied = after
        for stage, was, now in zip(self._tallies(run).stages, before, after, strict=True):
            if now is not was and (now is Undo.DONE or now is Undo.PARKED):
                stage.undos[now.value] += 1

    def _decided(self, run: Lasting) -> None:
        if run.tallied is None:
            run.tallied = (None,) * len(run.attempts)
            _count(self._tallies(run), run, run.verdict)

    def _tallies(self, run: Traversal) -> _Tallies:
        return self._known.get(id(run.route.plan)) or self.learn(run.route.plan)

    def learn(self, plan: PipelinePlan) -> _Tallies:
        """Find or make the tallies of a plan; it counts from nothing from now on."""
        if len(self._known) >= KNOWN_PLANS:
            self._known.clear()
        tallies = self._known[id(plan)] = _Tallies(
            plan,
            self.calls.of(plan.hook.name),
            self.runs.of((plan.hook.name, plan.name)),
            self.pipelines.of(plan.name),
            tuple(self.stages.of((plan.name, stage.id)) for stage in plan.stages),
            tuple(place for place, stage in enumerate(plan.stages) if stage.counts),
        )
        for stage, tally in zip(plan.stages, tallies.stages, strict=True):
            tally.undoable = tally.undoable or stage.undo is not None
        return tallies

    # What events tell.

    def hear(self, event: Event) -> None:
        """Count one of the events that are HEARD."""
        match event:
            case BreakerChanged(name, _, after):
                for breaker in self._service.breakers_called(name):
                    self.breakers.of(breaker)[after] += 1
            case RunParked(pipeline=pipeline):
                self.pipelines.of(pipeline).parked += 1
            case RestartScheduled(plugin):
                self.plugins.of(plugin).restarts += 1
            case WorkerEnded(plugin, planned=planned):
                tally = self.plugins.of(plugin)
                tally.planned_ends += planned
                tally.unplanned_ends += not planned
            case WorkerNotStarted(plugin):
                self.plugins.of(plugin).start_failures += 1
            case ChangeApplied():
                self.changes["applied"] += 1
            case ChangeRefused():
                self.changes["refused"] += 1
            case CanaryPromoted():
                self.canaries["promoted"] += 1
            case CanaryAborted():
                self.canaries["aborted"] += 1
            case _:
                pass


def _count(tallies: _Tallies, run: Traversal, verdict: str) -> None:
    """Count a run. Nearly all of it is written out: a call of a function would cost more than what it does."""
    tallies.verdicts[verdict] += 1
    seconds = run.ended - run.started
    durations = tallies.pipeline.durations
    durations.total += seconds
    durations.counts[0 if seconds <= SHORTEST else bisect_left(DURATION_BOUNDS, seconds)] += 1
    stages = tallies.stages
    place = 0
    for attempt in run.attempts:
        stage = stages[place]
        place += 1  # noqa: SIM113  enumerate takes longer
        if attempt is not None and attempt.why is None and attempt.tried == 1 and attempt.ended:
            stage.smooth += 1
            seconds = attempt.ended - attempt.started
            durations = stage.durations
            durations.total += seconds
            durations.counts[0 if seconds <= SHORTEST else bisect_left(DURATION_BOUNDS, seconds)] += 1
        else:
            _ended(stage, attempt)
    if tallies.counting:
        _put_out(tallies, run)
    if run.fault is not None or run.violation is not None:
        _troubled(tallies, run)


def _put_out(tallies: _Tallies, run: Traversal) -> None:
    """Count what plugins said; the `otherwise` of a stage that was skipped is the operator's word."""
    for place in tallies.counting:
        attempt = run.attempts[place]
        if attempt is not None and attempt.out is not None and attempt.state in _ANSWERED:
            for name in tallies.plan.stages[place].counts:
                tallies.stages[place].count_output(name, attempt.out.get(name))


def _troubled(tallies: _Tallies, run: Traversal) -> None:
    if run.denied:
        _denied(tallies, run)
    if run.fault is not None:
        _failed(tallies, run)


def _ended(stage: StageTally, attempt: Attempt | None) -> None:
    """Count a stage that did not simply succeed."""
    if attempt is None:
        stage.states[StageState.CANCELLED.value] += 1
        return
    # The caller of a durable run may be answered before what is under way is cancelled.
    state = StageState.CANCELLED if attempt.state is StageState.RUNNING else attempt.state
    stage.states[state.value] += 1
    if attempt.tried:
        stage.attempts += attempt.tried
        stage.retries += attempt.tried - 1
        if state is not StageState.CANCELLED:
            stage.durations.note(attempt.ended - attempt.started)
    if attempt.violation is not None:
        stage.trouble.violations.count(attempt.violation.code)
    if attempt.fault is not None:
        stage.trouble.errors[attempt.fault.kind, attempt.fault.code] += 1


def _denied(tallies: _Tallies, run: Traversal) -> None:
    code = run.violation.code if run.violation is not None else "penstock.internal"
    _deciding(tallies, run).count(code)


def _deciding(tallies: _Tallies, run: Traversal) -> Codes:
    for stage, attempt in _taken_up(tallies.stages, run.attempts):
        is_violation = run.violation is not None and attempt.violation is run.violation
        if is_violation or (run.fault is not None and attempt.fault is run.fault):
            return stage.trouble.denials
    return tallies.pipeline.trouble.denials


def _failed(tallies: _Tallies, run: Traversal) -> None:
    """Count the error of a run, unless it is that of a stage."""
    assert run.fault is not None
    if not any(attempt.fault is run.fault for _, attempt in _taken_up(tallies.stages, run.attempts)):
        tallies.pipeline.trouble.errors[run.fault.kind, run.fault.code] += 1


def _taken_up(stages: Sequence[StageTally], attempts: Sequence[Attempt | None]) -> Iterator[tuple[StageTally, Attempt]]:
    return ((stage, attempt) for stage, attempt in zip(stages, attempts, strict=True) if attempt is not None)
