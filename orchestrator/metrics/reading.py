"""Everything that a scrape shows, read in one go on the event loop's thread: values, nothing of the host is held."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from isolation.spec import host_version
from isolation.supervision import State as PluginState
from orchestrator.metrics.distribution import Distribution
from orchestrator.metrics.in_service import InService
from orchestrator.metrics.metrics import Metrics
from orchestrator.metrics.tallies import Trouble
from orchestrator.resilience.states import State as BreakerState
from pipelines.run import Undo

__all__ = ["Figure", "Reading", "read"]

Figure = tuple[str, tuple[str, ...], float | Distribution]
"""The name of a metric, the values of its labels in the catalogue's order, and the value."""

_UNDO_OUTCOMES = (Undo.DONE.value, Undo.PARKED.value)

_NEXT = (BreakerState.CLOSED.value, BreakerState.HALF_OPEN.value, BreakerState.OPEN.value)
"""What a transition may be told to lead to: a breaker that is forced open is open, in pybreaker's words."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read. Of `workers`, by the values of their labels, the processes are still to be looked at."""

    figures: tuple[Figure, ...]
    workers: Mapping[tuple[str, str, str], int]


def read(metrics: Metrics, service: InService) -> Reading:
    """Look at everything that only the event loop's thread may look at. Touches no disk but for a `stat`."""
    for plan in service.plans():
        metrics.learn(plan)  # what has not run yet is shown as 0
    figures = (
        *_calls(metrics, service),
        *_pipelines(metrics),
        *_stages(metrics),
        *_breakers(metrics, service),
        *_plugins(metrics, service),
        *_generations(service),
        *_revisions(metrics, service),
        *_host(metrics, service),
        *_journal(service),
    )
    workers = {
        (generation.spec.plugin, generation.spec.name, worker.name): worker.pid
        for generation in service.every_generation
        for worker in generation.alive
    }
    return Reading(figures, workers)


def _calls(metrics: Metrics, service: InService) -> Iterator[Figure]:
    for hook, verdicts in metrics.calls.all.items():
        for verdict, count in verdicts.items():
            yield "penstock_calls_total", (hook, verdict), count
    for code, count in metrics.refused.items():
        yield "penstock_calls_refused_total", (code,), count
    yield "penstock_calls_in_flight", (), service.calls_in_flight
    for (hook, pipeline), verdicts in metrics.runs.all.items():
        for verdict, count in verdicts.items():
            yield "penstock_runs_total", (hook, pipeline, verdict), count
    yield "penstock_runs_open", (), service.open_runs


def _pipelines(metrics: Metrics) -> Iterator[Figure]:
    for name, tally in metrics.pipelines.all.items():
        yield "penstock_run_duration_seconds", (name,), tally.durations.copy()
        yield "penstock_runs_parked_total", (name,), tally.parked
        yield from _trouble((name, ""), tally.trouble)


def _stages(metrics: Metrics) -> Iterator[Figure]:
    for stage, tally in metrics.stages.all.items():
        for state, count in tally.all_states.items():
            yield "penstock_stages_total", (*stage, state), count
        yield "penstock_stage_duration_seconds", stage, tally.durations.copy()
        yield "penstock_stage_attempts_total", stage, tally.all_attempts
        yield "penstock_stage_retries_total", stage, tally.retries
        for outcome in _UNDO_OUTCOMES if tally.undoable else ():
            yield "penstock_undos_total", (*stage, outcome), tally.undos[outcome]
        for output, values in tally.outputs.items():
            for value, count in values.counts.items():
                yield "penstock_stage_outputs_total", (*stage, output, value), count
        yield from _trouble(stage, tally.trouble)


def _trouble(stage: tuple[str, str], trouble: Trouble) -> Iterator[Figure]:
    for code, count in trouble.denials.counts.items():
        yield "penstock_denials_total", (*stage, code), count
    for code, count in trouble.violations.counts.items():
        yield "penstock_stage_violations_total", (*stage, code), count
    for error, count in trouble.errors.items():
        yield "penstock_errors_total", (*stage, *error), count


def _breakers(metrics: Metrics, service: InService) -> Iterator[Figure]:
    for breaker in service.breakers_of_workers():
        view = breaker.view()
        metrics.breakers.of((view.plugin, view.stage, view.policy))
        labels = (view.plugin, breaker.generation, view.stage, view.policy)
        stands = BreakerState.FORCED_OPEN.value if view.forced else view.state
        for state in BreakerState:
            yield "penstock_breaker_state", (*labels, state.value), int(state.value == stands)
    for names, counts in metrics.breakers.all.items():
        for after in _NEXT:
            yield "penstock_breaker_transitions_total", (*names, after), counts[after]


def _plugins(metrics: Metrics, service: InService) -> Iterator[Figure]:
    for plugin, generations in service.generations().items():
        metrics.plugins.of(plugin)
        each = [generation.status for generation in generations]
        for state in PluginState:
            yield "penstock_plugin_state", (plugin, state.value), int(state is each[0].state)
        yield "penstock_plugin_replicas_wanted", (plugin,), sum(status.wanted for status in each)
        yield "penstock_plugin_replicas_ready", (plugin,), sum(status.ready for status in each)
        yield "penstock_plugin_calls_in_flight", (plugin,), sum(status.owed for status in each)
        yield "penstock_plugin_calls_waiting", (plugin,), sum(status.waiting for status in each)
    for plugin, tally in metrics.plugins.all.items():
        yield "penstock_plugin_restarts_total", (plugin,), tally.restarts
        yield "penstock_plugin_worker_ends_total", (plugin, "planned"), tally.planned_ends
        yield "penstock_plugin_worker_ends_total", (plugin, "unplanned"), tally.unplanned_ends
        yield "penstock_plugin_start_failures_total", (plugin,), tally.start_failures


def _generations(service: InService) -> Iterator[Figure]:
    now = time.monotonic()
    for generation in service.every_generation:
        labels = (generation.spec.plugin, generation.spec.name)
        yield "penstock_generation_age_seconds", labels, now - generation.opened
        for worker in generation.alive:
            yield "penstock_worker_calls_in_flight", (*labels, worker.name), worker.owed


def _revisions(metrics: Metrics, service: InService) -> Iterator[Figure]:
    revisions = service.revisions
    yield "penstock_revision", (), revisions.current.number
    yield "penstock_revisions_draining", (), len(revisions.draining)
    taking = {generation for each in service.generations().values() for generation in each}
    yield "penstock_generations_draining", (), len(set(service.every_generation) - taking)
    for outcome, count in metrics.changes.items():
        yield "penstock_changes_total", (outcome,), count
    yield "penstock_watcher_frozen", (), int(service.frozen)
    for outcome, count in metrics.canaries.items():
        yield "penstock_canaries_total", (outcome,), count
    trial = revisions.trial
    yield "penstock_canary_ratio", (), trial.percent / 100 if trial is not None else 0
    for side, calls, failed in () if trial is None else trial.counted():
        yield "penstock_canary_calls", (side,), calls
        yield "penstock_canary_failed_calls", (side,), failed


def _host(metrics: Metrics, service: InService) -> Iterator[Figure]:
    yield "penstock_host_info", (host_version(), service.name), 1
    yield "penstock_host_loop_lag_seconds", (), metrics.pulse.lag.copy()
    yield "penstock_events_missed_total", (), service.events_missed


def _journal(service: InService) -> Iterator[Figure]:
    if service.journal is None:
        return
    pulse = service.journal.pulse()
    yield "penstock_journal_queue_bytes", (), pulse.queue_bytes
    yield "penstock_journal_size_bytes", (), pulse.size_bytes
    yield "penstock_journal_events_synced_total", (), pulse.synced_events
    yield "penstock_journal_commit_duration_seconds", (), pulse.commits
    yield "penstock_journal_failed", (), int(pulse.failed)
