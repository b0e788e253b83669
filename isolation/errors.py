"""Everything that can go wrong with one plugin apart. The name of an error says whose fault it is.

Every error carries a stable `code` and a `hint` with the next action.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CallCancelled",
    "CallError",
    "ConfigureError",
    "DeadlineExceeded",
    "EnvironmentBuildError",
    "ExitReport",
    "IsolationError",
    "LocalProtocolError",
    "ManifestError",
    "ManifestProblem",
    "NotSent",
    "PluginBusy",
    "PluginError",
    "PluginFailed",
    "RemoteProtocolError",
    "RetryableError",
    "StartError",
    "Stopping",
    "WorkerLost",
]


class IsolationError(Exception):
    """Root of this package's errors."""

    code = "penstock.isolation"
    hint = ""


@dataclass(frozen=True, slots=True)
class ManifestProblem:
    """One mistake in a manifest; `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    path: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        tail = f"; did you mean '{self.suggestion}'?" if self.suggestion else ""
        return f"{self.file}:{self.line}:{self.column}: {self.path}: {self.message}{tail}"


class ManifestError(IsolationError):
    """The author's manifest is wrong. `problems` holds every mistake found."""

    code = "penstock.manifest"
    hint = "correct the manifest; `penstock plugin check FOLDER` judges it"

    def __init__(self, problems: tuple[ManifestProblem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class EnvironmentBuildError(IsolationError):
    """uv could not build an environment. `resolver` holds uv's own last lines."""

    code = "penstock.environment"

    def __init__(self, plugin: str, message: str, *, hint: str, resolver: str = "") -> None:
        lines = f"\n{resolver}" if resolver else ""
        super().__init__(f"{plugin}: {message}{lines}")
        self.plugin = plugin
        self.message = message
        self.resolver = resolver
        self.hint = hint


class CallError(IsolationError):
    """A call that ended without an answer. `sent` is False when the plugin cannot have seen it.

    `final` is True where the same call, repeated, cannot fare better.
    """

    code = "penstock.plugin_error"
    sent = True
    final = False


class NotSent(CallError):
    """Never reached the plugin (no replica, draining): safe to try again."""

    code = "penstock.worker_lost"
    hint = "try again; `penstock doctor` tells why no worker takes calls"
    sent = False


class PluginFailed(NotSent):
    """Not sent because the plugin's workers ended more often than its restart intensity allows."""

    hint = "its log says why it ended; `penstock plugin restart NAME` starts it again"
    final = True


class Stopping(NotSent):
    """Not sent because the host stops its workers."""

    code = "penstock.shutdown"
    final = True
    hint = "the host is stopping; send the call to another one, or again after its start"


class PluginBusy(CallError):
    """Too many calls wait for the plugin, or the plugin itself said that it is busy."""

    code = "penstock.busy"
    hint = "raise `replicas`, or shorten the timeouts of the stages that use the plugin"
    sent = False


class DeadlineExceeded(CallError):
    """The call's own time ran out. `sent` says whether the plugin may have seen it."""

    code = "penstock.timeout"
    hint = "raise the stage's `timeout` or the pipeline's `deadline`"

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class CallCancelled(CallError):
    """The caller gave up."""

    code = "penstock.cancelled"
    final = True


class PluginError(CallError):
    """The plugin answered with an error. `number` is the JSON-RPC code, `data` what came with it."""

    hint = "the plugin's log has the traceback"

    def __init__(self, message: str, *, number: int = -32804, data: object = None) -> None:
        super().__init__(message)
        self.number = number
        self.data = data


class RetryableError(PluginError):
    """The plugin answered that the same call may succeed later."""


@dataclass(frozen=True, slots=True)
class ExitReport:
    """How a worker's process ended. `status` is an exit status, `signal` a signal number; one of them is None."""

    status: int | None = None
    signal: int | None = None
    stderr: str = ""
    reason: str = ""

    def __str__(self) -> str:
        if self.signal is not None:
            end = f"was killed by signal {self.signal}"
        elif self.status is not None:
            end = f"exited with status {self.status}"
        else:
            end = "closed its pipes"
        head = f"{end} ({self.reason})" if self.reason else end
        return f"{head}\n{self.stderr}" if self.stderr else head


class WorkerLost(CallError):
    """The worker's process ended, or its pipes closed, before it answered."""

    code = "penstock.worker_lost"
    hint = "the lines of its stderr above say why the plugin ended"

    def __init__(self, worker: str, report: ExitReport, *, sent: bool = True) -> None:
        super().__init__(f"worker {worker} {report}")
        self.worker = worker
        self.report = report
        self.sent = sent


class StartError(IsolationError):
    """A worker could not be made ready: it exited before the handshake, refused it, or took too long."""

    code = "penstock.start"
    hint = "`penstock plugin check FOLDER` starts the plugin alone and shows its log"


class ConfigureError(StartError):
    """A running plugin refused new configurations; it serves on with those it had. `place` is the worker that did."""

    code = "penstock.configure"
    hint = "correct its `with` or its secrets; the plugin's log has the traceback"

    def __init__(self, plugin: str, place: str, reason: str) -> None:
        super().__init__(f"{plugin}: {place} refused its new configurations: {reason}")
        self.plugin = plugin
        self.place = place
        self.reason = reason


class LocalProtocolError(CallError):
    """The host was about to break the protocol; nothing was sent."""

    code = "penstock.too_large"
    hint = "the payload and context together must stay under the frame limit"
    sent = False
    final = True


class RemoteProtocolError(CallError):
    """The plugin broke the protocol; its worker is ended."""

    hint = "`penstock plugin check FOLDER` shows the frame; the rules are in docs/protocol.md"
