"""What the door says when it cannot follow a request: a status, and one JSON object with code, message and hint.

A verdict is none of these: every call that reaches a pipeline is answered with 200.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from starlette.types import Send

from orchestrator.control.refusal import Refused

__all__ = ["FAILURES", "JSON", "ErrorBody", "Failure", "error_body", "failure_of", "respond"]

JSON = b"application/json"

FAILURES: Mapping[str, tuple[int, str]] = {
    "penstock.bad_request": (400, "The body, or a parameter, is not what the path takes."),
    "penstock.bad_http": (400, "What came over the connection is no HTTP request, or its head is too large."),
    "penstock.other_user": (403, "The socket is for its owner and root alone."),
    "penstock.unknown_path": (404, "The door has no such path."),
    "penstock.unknown_hook": (404, "The pipeline file and the catalogue know no such hook."),
    "penstock.method": (405, "The path is there, and takes another method."),
    "penstock.slow_body": (408, "The body of a request did not come in time."),
    "penstock.too_large": (413, "The body of a request, or the payload or context in it, is too large."),
    "penstock.internal": (500, "The host failed; its log has the traceback."),
    "penstock.not_ready": (503, "The plugins are still starting."),
}
"""What `error.code` may be at the door beside what commands are refused with; docs/errors.md is made from it."""

_REFUSED = 409


class Problem(msgspec.Struct):
    """`code` is stable, `hint` says what to do, where that is known."""

    code: str
    message: str
    hint: str = ""


class ErrorBody(msgspec.Struct):
    """What every status but 200 comes with."""

    error: Problem


class Failure(Exception):
    """The request cannot be followed. `code` is one of FAILURES."""

    def __init__(self, code: str, message: str, hint: str = "", *, status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint
        self.status = status or FAILURES[code][0]


def failure_of(refused: Refused) -> Failure:
    """A command's refusal, as the door says it."""
    code = refused.code
    if code == "penstock.bad_command":
        status = 400
    elif code.startswith("penstock.unknown_"):
        status = 404
    else:
        status = _REFUSED
    return Failure(code, str(refused), refused.hint, status=status)


def error_body(code: str, message: str, hint: str = "") -> bytes:
    """The JSON object."""
    return msgspec.json.encode(ErrorBody(Problem(code, message, hint)))


async def respond(
    send: Send, body: bytes, status: int = 200, kind: bytes = JSON, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send a whole response."""
    head = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
