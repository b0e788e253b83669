"""What a stage answered, taken apart and judged: a pure reading of untrusted bytes.

Anything that is not exactly what DESIGN allows is `BadAnswer`, the plugin's error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from pipelines.body import MAX_BODY_BYTES, MAX_DEPTH, Body, Unacceptable, accept, deeper_than, encode
from pipelines.fields import Field, misfits
from pipelines.merge import apply_patch
from pipelines.plan import Mode, OnError, StageState

__all__ = [
    "HOST_PREFIX",
    "NOTHING",
    "BadAnswer",
    "Hints",
    "StageAnswer",
    "Violation",
    "payload_after",
    "read_answer",
    "read_undo",
    "state_after",
    "state_after_error",
]

HOST_PREFIX = "penstock."
"""Violation codes that begin so are the host's own."""


class BadAnswer(ValueError):
    """The answer breaks the rules of a stage's answer."""


# A header that could end its line would let a plugin write the rest of the gateway's response (RFC 9110 section 5).
HeaderName = Annotated[str, msgspec.Meta(pattern=r"\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")]
HeaderValue = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x08\x0a-\x1f\x7f]*\Z")]
Headers = dict[HeaderName, HeaderValue]
Status = Annotated[int, msgspec.Meta(ge=100, le=599)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0)]


class Hints(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What the gateway may add to its response."""

    http_headers: Headers = {}
    retry_after_ms: Milliseconds | None = None


class Violation(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Why a stage denies."""

    code: str
    reason: str
    description: str = ""
    details: dict[str, object] = {}
    http_status: Status | None = None
    http_headers: Headers = {}
    retry_after_ms: Milliseconds | None = None


class StageAnswer(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Everything a stage may say; the members that are bytes are still raw JSON."""

    payload: msgspec.Raw = msgspec.Raw()
    patch: msgspec.Raw = msgspec.Raw()
    out: dict[str, object] | None = None
    state: dict[str, object] | None = None
    hints: Hints | None = None
    violation: Violation | None = None
    result: dict[str, object] | None = None

    def changes_payload(self) -> bool:
        """Whether it holds a payload or a patch."""
        return bool(bytes(self.payload)) or bool(bytes(self.patch))


NOTHING = StageAnswer()

_decode = msgspec.json.Decoder(StageAnswer).decode


def read_answer(raw: bytes | msgspec.Raw, result: tuple[Field, ...] | None) -> StageAnswer:
    """Read the result of a `stage/invoke`; raises BadAnswer. `null` and `{}` say nothing: allow, unchanged.

    `result` has the fields that the hook's own answer may have, nothing in it when any may be; None where the hook is
    answered with the payload.
    """
    data = bytes(raw)
    if data in (b"{}", b"null"):
        return NOTHING
    try:
        answer = _decode(data)
    except RecursionError:
        raise BadAnswer("the answer is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadAnswer(f"not the answer of a stage: {error}") from None
    if bytes(answer.payload) and bytes(answer.patch):
        raise BadAnswer("an answer has a payload or a patch, not both")
    if answer.violation is not None and answer.violation.code.startswith(HOST_PREFIX):
        raise BadAnswer(f"the code {answer.violation.code!r} is the host's own")
    if answer.result is not None:
        _check_result(answer.result, result)
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        _check_depth(answer)
    return answer


def read_undo(raw: bytes | msgspec.Raw) -> StageAnswer:
    """Read the result of a `stage/compensate`; raises BadAnswer for whatever is more than an `out`.

    Its run has ended: nobody could take a payload, a state or a violation of it.
    """
    answer = read_answer(raw, None)
    given = [name for name in answer.__struct_fields__ if getattr(answer, name) != getattr(NOTHING, name)]
    if set(given) - {"out"}:
        raise BadAnswer(f"an undo answers with `out` or nothing, not with {', '.join(given)}")
    return answer


def _check_result(given: Mapping[str, object], fields: tuple[Field, ...] | None) -> None:
    if fields is None:
        raise BadAnswer("this hook is answered with the payload; it takes no result")
    misfit = next(misfits(fields, given, ("result",)), None) if fields else None
    if misfit is not None:
        raise BadAnswer(misfit)


def _check_depth(answer: StageAnswer) -> None:
    details = answer.violation.details if answer.violation is not None else None
    parts = {"out": answer.out, "state": answer.state, "result": answer.result, "violation.details": details}
    for name, part in parts.items():
        if part is not None and deeper_than(MAX_DEPTH, encode(part)):
            raise BadAnswer(f"its {name} is nested deeper than {MAX_DEPTH} levels")


def payload_after(answer: StageAnswer, before: Body) -> Body:
    """Check a payload or patch that came back, as the door checks what comes in; raises BadAnswer."""
    raw = bytes(answer.payload)
    patch = bytes(answer.patch)
    try:
        if raw:
            return accept(raw)
        tree = apply_patch(before.tree, accept(patch).tree)
    except Unacceptable as error:
        raise BadAnswer(f"its {'payload' if raw else 'patch'}: {error}") from None
    assert isinstance(tree, dict)  # an object was patched with an object
    after = Body.of(tree)
    if len(after.raw) > MAX_BODY_BYTES:
        raise BadAnswer(f"its patch makes the payload {len(after.raw)} bytes; the limit is {MAX_BODY_BYTES}")
    return after


_AFTER_VIOLATION = {
    Mode.ENFORCE: StageState.DENIED,
    Mode.PERMISSIVE: StageState.SUCCEEDED,
    Mode.AUDIT: StageState.SUCCEEDED,
}

_AFTER_ERROR = {OnError.FAIL: StageState.FAILED, OnError.CONTINUE: StageState.SKIPPED}


_SUCCEEDED = StageState.SUCCEEDED


def state_after(answer: StageAnswer, mode: Mode) -> StageState:
    """Where a stage stands after its answer; a recorded violation leaves it succeeded."""
    return _SUCCEEDED if answer.violation is None else _AFTER_VIOLATION[mode]


def state_after_error(on_error: OnError) -> StageState:
    """Where a stage stands after an error; one that is continued past counts as skipped."""
    return _AFTER_ERROR[on_error]
