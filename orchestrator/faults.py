"""What the host says when something goes wrong in a run: one table from errors to stable codes and class names."""

from __future__ import annotations

from dataclasses import dataclass

from isolation import errors

__all__ = ["CLASSES", "CODES", "StageFault", "fault_of"]

CODES = {
    "penstock.timeout": "no answer before the stage's timeout or the run's deadline",
    "penstock.breaker_open": "the breaker of the stage is open",
    "penstock.worker_lost": "the worker ended during the call, or none takes calls",
    "penstock.busy": "too many calls wait for the plugin",
    "penstock.expression": "an expression of the pipeline file could not be evaluated, or gave the wrong type",
    "penstock.merge_conflict": "two stages that do not need each other wrote one place differently",
    "penstock.unmatched": "no pipeline applies to the call and the hook's `unmatched` is deny",
    "penstock.need_unmet": "a need of an enforcing stage did not end as its `is` demands",
    "penstock.plugin_error": "the plugin answered with an error, or broke the rules of its answer or the protocol",
    "penstock.shutdown": "the host is stopping",
    "penstock.internal": "a bug of the host; its log has the traceback",
}

CLASSES = {
    "WorkerLost": "penstock.worker_lost",
    "Busy": "penstock.busy",
    "Retryable": "penstock.plugin_error",
    "BreakerOpen": "penstock.breaker_open",
    "DeadlineExceeded": "penstock.timeout",
    "PluginError": "penstock.plugin_error",
    "ExpressionError": "penstock.expression",
    "MergeConflict": "penstock.merge_conflict",
    "NeedUnmet": "penstock.need_unmet",
}
"""What `fallback.on` may name, with the code that a denial for it has."""


@dataclass(frozen=True, slots=True)
class StageFault:
    """An error of a stage. `kind` is the class that `fallback.on` names; `code` one of CODES."""

    kind: str
    code: str
    message: str

    def as_json(self) -> dict[str, object]:
        """As `error` shows it."""
        return {"class": self.kind, "code": self.code, "message": self.message}


_KINDS: tuple[tuple[type[errors.CallError], str, str], ...] = (
    (errors.WorkerLost, "WorkerLost", "penstock.worker_lost"),
    (errors.Stopping, "WorkerLost", "penstock.shutdown"),
    (errors.NotSent, "WorkerLost", "penstock.worker_lost"),
    (errors.PluginBusy, "Busy", "penstock.busy"),
    (errors.DeadlineExceeded, "DeadlineExceeded", "penstock.timeout"),
    (errors.RetryableError, "Retryable", "penstock.plugin_error"),
)


def fault_of(error: errors.CallError) -> StageFault:
    """Translate what `isolation` raised."""
    for kind, name, code in _KINDS:
        if isinstance(error, kind):
            return StageFault(name, code, str(error))
    return StageFault("PluginError", "penstock.plugin_error", str(error))
