"""What a stage may answer, and the ways to refuse. Values only; nothing is encoded here."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` costs every worker 7 ms of its start
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "Busy", "Retryable", "Undone", "Violation"]

UNSET: object = object()
"""Tells "not given" from None, which is JSON's null."""

HOST_PREFIX = "penstock."
"""Codes that begin so say that the host itself denied."""


class Violation(Exception):
    """Why a call is denied. Return it, raise it, or use `call.deny(...)`, which also carries `out` and `state`.

    `code` is for programs (`secret_found`), `reason` for people. `http_status`, `http_headers` and `retry_after_ms`
    shape the gateway's response where it has one; `details` is a JSON object for the operator's log.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        *,
        description: str | None = None,
        details: Mapping[str, object] | None = None,
        http_status: int | None = None,
        http_headers: Mapping[str, str] | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        for name, text in (("code", code), ("reason", reason)):
            if not isinstance(text, str) or not text:
                raise TypeError(f"a violation's {name} must be a string with something in it, not {text!r}")
        if code.startswith(HOST_PREFIX):
            raise TypeError(f"a violation's code must not begin with {HOST_PREFIX!r}: those are the host's own")
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.description = description
        self.details = details
        self.http_status = http_status
        self.http_headers = http_headers
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"

    def as_json(self) -> dict[str, object]:
        """The members that were given, as the protocol writes them."""
        return {name: value for name, value in vars(self).items() if value is not None}


class Retryable(Exception):
    """Raise it when the same call may succeed later: a peer was away, a quota ran out."""

    def __init__(self, message: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Busy(Exception):
    """Raise it to refuse a call before anything was done, because there is no room for it."""

    def __init__(self, message: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Undone(Exception):
    """Raise it to refuse for good a call that was undone, or whose undo came before it."""


class Answer:
    """What a stage says about a call. `call.allow`, `.modify`, `.patch`, `.deny` and `.respond` make one."""

    __slots__ = ("hints", "out", "patch", "payload", "result", "state", "violation")

    def __init__(
        self,
        *,
        payload: object = UNSET,
        patch: object = UNSET,
        out: Mapping[str, object] | None = None,
        state: Mapping[str, object] | None = None,
        hints: Mapping[str, object] | None = None,
        violation: Violation | None = None,
        result: object = UNSET,
    ) -> None:
        if payload is not UNSET and patch is not UNSET:
            raise TypeError("an answer has a whole payload or a patch, not both")
        for name, value in (("payload", payload), ("patch", patch), ("result", result)):
            if value is not UNSET and not isinstance(value, dict):
                raise TypeError(f"{name} must be a dict, not {type(value).__name__}")
        for name, value in (("out", out), ("state", state), ("hints", hints)):
            if value is not None and not isinstance(value, dict):
                raise TypeError(f"{name} must be a dict, not {type(value).__name__}")
        if violation is not None and not isinstance(violation, Violation):
            raise TypeError(f"violation must be a Violation, not {type(violation).__name__}")
        self.payload = payload
        self.patch = patch
        self.out = out
        self.state = state
        self.hints = hints
        self.violation = violation
        self.result = result

    def as_json(self) -> dict[str, object]:
        """The members that were given, as the protocol writes them."""
        members: dict[str, object] = {}
        for name in ("payload", "patch", "result"):
            if (value := getattr(self, name)) is not UNSET:
                members[name] = value
        for name in ("out", "state", "hints"):
            if (value := getattr(self, name)) is not None:
                members[name] = value
        if self.violation is not None:
            members["violation"] = self.violation.as_json()
        return members
