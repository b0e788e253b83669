"""What the host says when something goes wrong in a run: one table from errors to stable codes and class names."""

from __future__ import annotations

from dataclasses import dataclass

from isolation import errors

__all__ = ["ABANDONED", "CLASSES", "CODES", "INTERNAL", "SHUTDOWN", "FaultError", "StageFault", "fault_of"]

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
    "penstock.interrupted": "the host ended during the durable run, and it was undone",
    "penstock.revoked": "the run was allowed and undone later: never confirmed, never delivered, or by command",
    "penstock.parked": "the compensation was left to a human by command",
    "penstock.key_required": "the pipeline resumes its runs, and the caller supplied no idempotency_key",
    "penstock.key_conflict": "the idempotency_key was used before with another payload or context",
    "penstock.journal": "the journal did not take the run, or what happened in it",
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
    """An error of a stage. `kind` is the class that `fallback.on` names; `code` one of CODES.

    `sent` is False when the plugin cannot have seen the call; `final` True when another try cannot fare better.
    """

    kind: str
    code: str
    message: str
    sent: bool = True
    final: bool = False

    def as_json(self) -> dict[str, object]:
        """As `error` shows it."""
        return {"class": self.kind, "code": self.code, "message": self.message}


SHUTDOWN = StageFault("Shutdown", "penstock.shutdown", "the host is stopping", final=True)

INTERNAL = StageFault("InternalError", "penstock.internal", "the host failed; its log has the traceback", final=True)

ABANDONED = StageFault("Abandoned", "penstock.timeout", "the caller went away", final=True)


class FaultError(Exception):
    """A fault where a library wants an exception."""

    def __init__(self, fault: StageFault) -> None:
        super().__init__(fault.message)
        self.fault = fault


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
            return StageFault(name, code, str(error), error.sent, error.final)
    return StageFault("PluginError", "penstock.plugin_error", str(error), error.sent, error.final)
