"""What a stage answered, taken apart and judged: a pure reading of untrusted bytes.

Anything that is not exactly what DESIGN allows is `BadAnswer`, the plugin's error.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipelines.body import Body, Unacceptable, accept
from pipelines.plan import Mode, OnError, StageState

__all__ = ["HOST_PREFIX", "NOTHING", "BadAnswer", "Hints", "StageAnswer", "Violation", "read_answer", "state_after"]

HOST_PREFIX = "penstock."
"""Violation codes that begin so are the host's own."""


class BadAnswer(ValueError):
    """The answer breaks the rules of a stage's answer."""


class Hints(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What the gateway may add to its response."""

    http_headers: dict[str, str] = {}
    retry_after_ms: int | None = None


class Violation(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Why a stage denies."""

    code: str
    reason: str
    description: str = ""
    details: dict[str, object] = {}
    http_status: int | None = None
    http_headers: dict[str, str] = {}
    retry_after_ms: int | None = None


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
_decode_object = msgspec.json.Decoder(dict[str, object]).decode


def read_answer(raw: bytes | msgspec.Raw, *, may_have_result: bool = True) -> StageAnswer:
    """Read the result of a `stage/invoke`; raises BadAnswer. `null` and `{}` say nothing: allow, unchanged."""
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
    if answer.result is not None and not may_have_result:
        raise BadAnswer("this hook is answered with the payload; it takes no result")
    return answer


def read_payload(raw: msgspec.Raw) -> Body:
    """Check a payload that came back, as the door checks one that comes in; raises BadAnswer."""
    try:
        return accept(bytes(raw))
    except Unacceptable as error:
        raise BadAnswer(f"its payload: {error}") from None


def read_patch(raw: msgspec.Raw) -> Mapping[str, object]:
    """Check a merge patch; raises BadAnswer."""
    try:
        return accept(bytes(raw)).tree
    except Unacceptable as error:
        raise BadAnswer(f"its patch: {error}") from None


_AFTER_VIOLATION = {
    Mode.ENFORCE: StageState.DENIED,
    Mode.PERMISSIVE: StageState.SUCCEEDED,
    Mode.AUDIT: StageState.SUCCEEDED,
}

_AFTER_ERROR = {OnError.FAIL: StageState.FAILED, OnError.CONTINUE: StageState.SKIPPED}


def state_after(answer: StageAnswer, mode: Mode) -> StageState:
    """Where a stage stands after its answer; a recorded violation leaves it succeeded."""
    return StageState.SUCCEEDED if answer.violation is None else _AFTER_VIOLATION[mode]


def state_after_error(on_error: OnError) -> StageState:
    """Where a stage stands after an error; one that is continued past counts as skipped."""
    return _AFTER_ERROR[on_error]
