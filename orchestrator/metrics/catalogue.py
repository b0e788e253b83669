"""Every metric: its name, what it says, its labels, how many series it can have. docs/metrics.md is made from it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["CATALOGUE", "GROUPS", "Kind", "Metric"]


class Kind(enum.Enum):
    """In Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. The unit stands at the end of its name. `series` says how many there can be at most.

    A histogram has `name` with `_bucket`, `_sum` and `_count`, and one more label, `le`.
    """

    name: str
    kind: Kind
    says: str
    labels: tuple[str, ...] = ()
    series: str = "1"


_COUNTER, _GAUGE, _HISTOGRAM = Kind

_STAGE = ("pipeline", "stage")
_BREAKER = ("plugin", "stage", "policy")
_WORKER = ("plugin", "generation", "worker")

GROUPS: Mapping[str, tuple[Metric, ...]] = MappingProxyType(
    {
        "Calls and runs": (
            Metric(
                "penstock_calls_total",
                _COUNTER,
                "Calls of hooks that were answered.",
                ("hook", "verdict"),
                "hooks × 3",
            ),
            Metric(
                "penstock_calls_refused_total",
                _COUNTER,
                "Calls that the door did not take: unknown hook or pipeline, no JSON object within the limits.",
                ("code",),
                "3",
            ),
            Metric("penstock_calls_in_flight", _GAUGE, "Calls that are not answered yet."),
            Metric(
                "penstock_runs_total",
                _COUNTER,
                "Runs of pipelines whose verdict was settled.",
                ("hook", "pipeline", "verdict"),
                "pipelines × their hooks × 3",
            ),
            Metric(
                "penstock_run_duration_seconds",
                _HISTOGRAM,
                "From the beginning of a run to its verdict.",
                ("pipeline",),
                "pipelines",
            ),
            Metric(
                "penstock_denials_total",
                _COUNTER,
                "Denied runs by the code of their violation. `stage` is the one that decided, empty where none did. Of "
                "the codes of a plugin the first 20 of a stage are told apart, all others are `other`.",
                ("pipeline", "stage", "code"),
                "stages × (20 + codes of the host)",
            ),
            Metric(
                "penstock_runs_open",
                _GAUGE,
                "Durable runs, and those that wait for a confirmation, that are not over.",
            ),
            Metric(
                "penstock_runs_parked_total",
                _COUNTER,
                "How often a run was left to a human.",
                ("pipeline",),
                "pipelines",
            ),
        ),
        "Stages": (
            Metric(
                "penstock_stages_total",
                _COUNTER,
                "Where the stages of runs ended: succeeded, denied, failed, skipped or cancelled. A stage whose turn "
                "never came is cancelled, so that the states of a stage add up to the runs of its pipeline.",
                (*_STAGE, "state"),
                "stages × 5",
            ),
            Metric(
                "penstock_stage_duration_seconds",
                _HISTOGRAM,
                "From when a stage was taken up to its end, with the wait for a worker and every try. Of stages whose "
                "plugin was called and that were not cancelled.",
                _STAGE,
                "stages",
            ),
            Metric(
                "penstock_stage_attempts_total",
                _COUNTER,
                "Tries: how often the plugin of a stage was called.",
                _STAGE,
                "stages",
            ),
            Metric("penstock_stage_retries_total", _COUNTER, "Tries after the first.", _STAGE, "stages"),
            Metric(
                "penstock_stage_violations_total",
                _COUNTER,
                "Violations that a stage found, whatever its mode makes of them. Codes are bounded as in denials.",
                (*_STAGE, "code"),
                "stages × 21",
            ),
            Metric(
                "penstock_stage_outputs_total",
                _COUNTER,
                "Values that a stage put out, of outputs that its manifest has counted (`counts`); of a list each. The "
                "first 100 of an output are told apart, all others are `other`.",
                (*_STAGE, "output", "value"),
                "stages × their counted outputs × 101",
            ),
            Metric(
                "penstock_errors_total",
                _COUNTER,
                "Stages that ended with an error, by its class and its code; with an empty `stage`, runs that failed "
                "outside of every stage. docs/errors.md has the codes.",
                (*_STAGE, "class", "code"),
                "stages × classes",
            ),
            Metric(
                "penstock_undos_total",
                _COUNTER,
                "Compensations by what came of them: done, or parked for a human.",
                (*_STAGE, "outcome"),
                "stages × 2",
            ),
        ),
        "Breakers": (
            Metric(
                "penstock_breaker_state",
                _GAUGE,
                "1 for the state in which a breaker is, 0 for the others: closed, half-open, open, forced open. With a "
                "breaker `stage` is one of the plugin, as in `penstock breakers`.",
                ("plugin", "generation", "stage", "policy", "state"),
                "breakers of generations with workers × 4",
            ),
            Metric(
                "penstock_breaker_transitions_total",
                _COUNTER,
                "How often a breaker went into a state: closed, half-open or open.",
                (*_BREAKER, "to"),
                "breakers × 3",
            ),
        ),
        "Plugins and workers": (
            Metric(
                "penstock_plugin_state",
                _GAUGE,
                "1 for the state in which the supervision of a plugin is, 0 for the others: starting, running, "
                "degraded, failed, stopping, stopped.",
                ("plugin", "state"),
                "plugins × 6",
            ),
            Metric(
                "penstock_plugin_replicas_wanted", _GAUGE, "Workers that a plugin shall have.", ("plugin",), "plugins"
            ),
            Metric("penstock_plugin_replicas_ready", _GAUGE, "Workers that take calls.", ("plugin",), "plugins"),
            Metric(
                "penstock_plugin_calls_in_flight",
                _GAUGE,
                "Calls that are with workers, those included that nobody waits for any more.",
                ("plugin",),
                "plugins",
            ),
            Metric(
                "penstock_plugin_calls_waiting", _GAUGE, "Calls that wait for a free worker.", ("plugin",), "plugins"
            ),
            Metric(
                "penstock_plugin_restarts_total",
                _COUNTER,
                "How often a worker was to follow on one that had ended.",
                ("plugin",),
                "plugins",
            ),
            Metric(
                "penstock_plugin_worker_ends_total",
                _COUNTER,
                "Workers that ended. `kind` is planned where the host wanted it so (a drain, a stop, an overrun call), "
                "else unplanned.",
                ("plugin", "kind"),
                "plugins × 2",
            ),
            Metric(
                "penstock_plugin_start_failures_total",
                _COUNTER,
                "Workers that could not be made ready.",
                ("plugin",),
                "plugins",
            ),
            Metric(
                "penstock_generation_age_seconds",
                _GAUGE,
                "Since the workers of a generation were first started.",
                ("plugin", "generation"),
                "generations with workers",
            ),
            Metric(
                "penstock_worker_resident_memory_bytes",
                _GAUGE,
                "Memory of a worker's process. Linux only, as the next two.",
                _WORKER,
                "workers alive",
            ),
            Metric("penstock_worker_cpu_seconds_total", _COUNTER, "CPU time of a worker.", _WORKER, "workers alive"),
            Metric("penstock_worker_open_descriptors", _GAUGE, "Open files of a worker.", _WORKER, "workers alive"),
            Metric("penstock_worker_calls_in_flight", _GAUGE, "Calls that a worker owes.", _WORKER, "workers alive"),
        ),
        "Revisions": (
            Metric("penstock_revision", _GAUGE, "The number of the revision in service, as in `penstock history`."),
            Metric(
                "penstock_revisions_draining", _GAUGE, "Revisions that take no new calls and that some run still needs."
            ),
            Metric("penstock_generations_draining", _GAUGE, "Generations with workers that no new call is given to."),
            Metric(
                "penstock_changes_total",
                _COUNTER,
                "Changes by outcome: applied (put into service or on trial, rollbacks included) or refused.",
                ("outcome",),
                "2",
            ),
            Metric("penstock_watcher_frozen", _GAUGE, "1 while the watcher applies nothing: `penstock freeze`."),
            Metric(
                "penstock_canaries_total",
                _COUNTER,
                "Revisions on trial by outcome: promoted or aborted.",
                ("outcome",),
                "2",
            ),
            Metric(
                "penstock_canary_ratio",
                _GAUGE,
                "What part of the calls, 0 to 1, a revision on trial gets; 0 without.",
            ),
            Metric(
                "penstock_canary_calls",
                _GAUGE,
                "Runs that the trial has judged: of the canary, and of what is stable. There during a trial.",
                ("side",),
                "2",
            ),
            Metric("penstock_canary_failed_calls", _GAUGE, "Those of them that failed.", ("side",), "2"),
        ),
        "Host": (
            Metric(
                "penstock_host_info",
                _GAUGE,
                "Always 1; says which penstock serves which file, by the `name` in it.",
                ("version", "name"),
            ),
            Metric(
                "penstock_host_resident_memory_bytes",
                _GAUGE,
                "Memory of the host's process; off Linux the most that it ever took up.",
            ),
            Metric("penstock_host_cpu_seconds_total", _COUNTER, "CPU time of the host."),
            Metric("penstock_host_open_descriptors", _GAUGE, "Open files of the host. Linux only, as the next one."),
            Metric("penstock_host_threads", _GAUGE, "Threads of the host."),
            Metric(
                "penstock_host_loop_lag_seconds",
                _HISTOGRAM,
                "How late the event loop came to an alarm that it gives itself twice a second.",
            ),
            Metric(
                "penstock_events_missed_total",
                _COUNTER,
                "Events that a listener to a stream went without, because it did not keep up.",
            ),
        ),
        "Journal": (
            Metric(
                "penstock_journal_queue_bytes",
                _GAUGE,
                "What waits for the disk. This group is there where the file has durable pipelines.",
            ),
            Metric("penstock_journal_size_bytes", _GAUGE, "The database and its log on the disk."),
            Metric("penstock_journal_events_synced_total", _COUNTER, "Events of runs that are on the disk."),
            Metric("penstock_journal_commit_duration_seconds", _HISTOGRAM, "Transactions, each with its sync."),
            Metric("penstock_journal_failed", _GAUGE, "1 after a commit failed: durable runs are denied from then on."),
        ),
    }
)

CATALOGUE: Mapping[str, Metric] = MappingProxyType({one.name: one for group in GROUPS.values() for one in group})
