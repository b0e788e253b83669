"""Where a call comes in: checked once, strictly, and encoded once. What passes here may be forwarded untouched."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.contexts import normalise
from pipelines.body import Body, Unacceptable, accept

__all__ = ["DoorError", "admit_context", "admit_payload"]


class DoorError(ValueError):
    """The payload or the context is no JSON object within the limits."""

    code = "penstock.door"
    hint = "payload and context are JSON objects: finite numbers, valid UTF-8, bounded depth and size"


def admit_payload(data: bytes | Mapping[str, object]) -> Body:
    """Check a payload; raises DoorError."""
    try:
        return accept(data)
    except Unacceptable as error:
        raise DoorError(f"payload: {error}") from None


def admit_context(data: bytes | Mapping[str, object] | None) -> Body:
    """Check a context and give it every member that a context has, "" for absent strings; raises DoorError."""
    try:
        given = accept(data or b"{}")
    except Unacceptable as error:
        raise DoorError(f"context: {error}") from None
    full = normalise(given.tree)
    return given if full is given.tree else Body.of(full)
