"""What a plugin is handed: a call, its deadline, a configuration, the start. Decodes nothing before it is looked at."""

from __future__ import annotations

from time import monotonic

from .answer import UNSET, Answer, Violation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any, Protocol

    class Parameters(Protocol):
        """The head of a call as a codec read it; `context` and `input` may still be encoded."""

        stage: str
        hook: str
        config: str
        run: str
        attempt: int
        key: str
        undoes: str | None
        deadline_ms: float | None
        trace: str | None
        input: Any
        context: Any

    Report = Callable[[dict[str, object]], None]
    Decode = Callable[[Any], Any]


__all__ = ["Call", "Config", "Deadline", "Start"]


class Config(dict[str, object]):
    """One configuration: the operator's `with` as a dict, and beside it the secrets granted to the plugin."""

    def __init__(self, values: Mapping[str, object], secrets: Mapping[str, str] | None = None) -> None:
        super().__init__(values)
        self.secrets: dict[str, str] = dict(secrets or {})


class Deadline:
    """When the answer has to be there. Later nobody waits for it."""

    __slots__ = ("at",)

    def __init__(self, at: float | None) -> None:
        self.at = at
        """On the clock of `time.monotonic()`, in seconds; None when there is no deadline."""

    def remaining(self) -> float:
        """Seconds left, 0.0 when it has passed, infinite when there is none."""
        return float("inf") if self.at is None else max(0.0, self.at - monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is too late."""
        return self.at is not None and monotonic() >= self.at


def _progress(message: str | None, done: float | None, total: float | None) -> dict[str, object]:
    members = {"message": message, "done": done, "total": total}
    return {name: value for name, value in members.items() if value is not None}


class Start:
    """What `@plugin.startup` is handed."""

    __slots__ = ("_report", "data", "name", "version")

    def __init__(self, name: str, version: str, data: Path | None, report: Report) -> None:
        self.name = name
        self.version = version
        self.data = data
        """The plugin's private directory when its manifest says `data = true`, else None."""
        self._report = report

    def progress(self, message: str | None = None, *, done: float | None = None, total: float | None = None) -> None:
        """Say that the start goes on. A start may take long as long as it reports."""
        self._report(_progress(message, done, total))


class Call:
    """One call of one stage. Payload, context and input are decoded when they are first looked at.

    A stage answers with None (allow, unchanged) or with what one of `allow`, `modify`, `patch`, `deny` and
    `respond` returns.
    """

    __slots__ = (
        "_context", "_decode", "_input", "_parameters", "_payload", "_raw", "_report", "_settled", "_until", "id",
    )  # fmt: skip

    def __init__(
        self,
        call_id: int,
        parameters: Parameters,
        raw: object,
        settled: tuple[object, dict[str, str]],
        until: float | None,
        decode: Decode,
        report: Report,
    ) -> None:
        self.id = call_id
        self._parameters = parameters
        self._raw = raw
        self._settled = settled
        self._until = until
        self._decode = decode
        self._report = report
        self._payload: Any = UNSET
        self._context: Any = UNSET
        self._input: Any = UNSET

    @property
    def stage(self) -> str:
        """The name of the stage that is called."""
        return self._parameters.stage

    @property
    def hook(self) -> str:
        """The point where the gateway asks, such as `tool_pre_invoke`."""
        return self._parameters.hook

    @property
    def run(self) -> str:
        """Identifies the traversal of the pipeline that this call belongs to."""
        return self._parameters.run

    @property
    def key(self) -> str:
        """The same for every attempt of this call: what an effect is made idempotent by."""
        return self._parameters.key

    @property
    def undoes(self) -> str | None:
        """In an undo the key of the call to take back; None in every other stage."""
        return self._parameters.undoes or None

    @property
    def attempt(self) -> int:
        """1 for the first try."""
        return self._parameters.attempt

    @property
    def trace(self) -> str | None:
        """W3C trace context of the run, if it is traced."""
        return self._parameters.trace

    @property
    def payload(self) -> dict[str, Any]:
        """What the gateway handed over, as the stages before this one left it. Yours to change and hand back."""
        if self._payload is UNSET:
            self._payload = self._decode(self._raw)
        value: dict[str, Any] = self._payload
        return value

    @property
    def context(self) -> dict[str, Any]:
        """Who asks and where: request_id, tenant, server_id, user, tool, metadata, state and more."""
        if self._context is UNSET:
            self._context = self._decode(self._parameters.context)
        value: dict[str, Any] = self._context
        return value

    @property
    def input(self) -> dict[str, Any]:
        """What the pipeline file's `in` maps for this stage."""
        if self._input is UNSET:
            self._input = self._decode(self._parameters.input)
        value: dict[str, Any] = self._input
        return value

    @property
    def config(self) -> Any:
        """What `@plugin.configure` made of this stage's `with`; without one, the `Config` itself."""
        return self._settled[0]

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets granted to the plugin, by name."""
        return self._settled[1]

    @property
    def deadline(self) -> Deadline:
        """When the answer has to be there."""
        return Deadline(self._until)

    @property
    def log(self) -> logging.Logger:
        """A logger; whatever logs during a call carries its run and stage."""
        import logging

        return logging.getLogger(f"penstock.{self.stage}")

    def progress(self, message: str | None = None, *, done: float | None = None, total: float | None = None) -> None:
        """Say how far this call is."""
        self._report({"id": self.id, **_progress(message, done, total)})

    def allow(
        self,
        *,
        out: Mapping[str, object] | None = None,
        state: Mapping[str, object] | None = None,
        hints: Mapping[str, object] | None = None,
    ) -> Answer:
        """Let the payload through unchanged. `out` is for other stages, `state` for the gateway's later hooks."""
        return Answer(out=out, state=state, hints=hints)

    def modify(
        self,
        payload: Mapping[str, object],
        *,
        out: Mapping[str, object] | None = None,
        state: Mapping[str, object] | None = None,
        hints: Mapping[str, object] | None = None,
    ) -> Answer:
        """Replace the whole payload."""
        return Answer(payload=payload, out=out, state=state, hints=hints)

    def patch(
        self,
        patch: Mapping[str, object],
        *,
        out: Mapping[str, object] | None = None,
        state: Mapping[str, object] | None = None,
        hints: Mapping[str, object] | None = None,
    ) -> Answer:
        """Change some members (RFC 7396: objects merge, null removes); cheaper than the whole of a large payload."""
        return Answer(patch=patch, out=out, state=state, hints=hints)

    def respond(
        self,
        result: Mapping[str, object],
        *,
        out: Mapping[str, object] | None = None,
        state: Mapping[str, object] | None = None,
        hints: Mapping[str, object] | None = None,
    ) -> Answer:
        """Answer a hook that asks for something else than its payload, such as the user of a request."""
        return Answer(result=result, out=out, state=state, hints=hints)

    def deny(
        self,
        code: str,
        reason: str,
        *,
        description: str | None = None,
        details: Mapping[str, object] | None = None,
        http_status: int | None = None,
        http_headers: Mapping[str, str] | None = None,
        retry_after_ms: int | None = None,
        out: Mapping[str, object] | None = None,
        state: Mapping[str, object] | None = None,
    ) -> Answer:
        """Object to the call; see `Violation`. What that means is the operator's choice (`mode`)."""
        violation = Violation(
            code,
            reason,
            description=description,
            details=details,
            http_status=http_status,
            http_headers=http_headers,
            retry_after_ms=retry_after_ms,
        )
        return Answer(violation=violation, out=out, state=state)
