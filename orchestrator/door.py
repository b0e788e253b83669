"""Where a call comes in: checked once, strictly, and encoded once. What passes here may be forwarded untouched."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from orchestrator.contexts import Context, normalise
from orchestrator.traces import accepted_trace
from pipelines.body import MAX_BODY_BYTES, MAX_DEPTH, Body, Unacceptable, accept, encode

__all__ = ["DoorError", "admit_context", "admit_payload", "admit_trace"]


class _User(msgspec.Struct, forbid_unknown_fields=True):
    id: str = ""
    email: str = ""
    roles: list[object] = []
    groups: list[object] = []
    is_admin: bool = False


class _Context(msgspec.Struct, forbid_unknown_fields=True):
    """The members of `pipelines.hooks.CONTEXT`; a test holds the two equal."""

    request_id: str = ""
    tenant: str = ""
    server_id: str = ""
    user: _User = msgspec.field(default_factory=_User)
    content_type: str = ""
    tool: dict[str, object] = {}
    gateway: dict[str, object] = {}
    metadata: dict[str, object] = {}
    state: dict[str, object] = {}


_decode_context = msgspec.json.Decoder(_Context).decode


class DoorError(ValueError):
    """The payload or the context is no JSON object within the limits."""

    code = "penstock.door"
    hint = "payload and context are JSON objects: finite numbers, valid UTF-8, bounded depth and size"


def admit_payload(data: bytes | Mapping[str, object] | Body) -> Body:
    """Check a payload; raises DoorError."""
    if isinstance(data, Body):
        return data
    try:
        return accept(data)
    except Unacceptable as error:
        raise DoorError(f"payload: {error}") from None


def admit_context(data: bytes | Mapping[str, object] | Body | None, request_id: str = "") -> Body:
    """Check a context and give it every member that a context has, "" for absent strings; raises DoorError.

    `request_id` is what the context's own is where it has none.
    """
    if isinstance(data, Body):
        return data
    if isinstance(data, bytes):
        body = _ours_already(data, request_id)
        if body is not None:
            return body
    try:
        given = accept(data or b"{}")
        full = normalise(given.tree)
        if request_id and not full["request_id"]:
            full = {**full, "request_id": request_id}
    except ValueError as error:
        raise DoorError(f"context: {error}") from None
    return Context(given.raw if full is given.tree else encode(full), full, str(full["request_id"]))


def _ours_already(data: bytes, request_id: str) -> Context | None:
    """Read a context that has our own shape in one typed pass; None when it must be looked at more closely."""
    if len(data) > MAX_BODY_BYTES or data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        return None
    try:
        context = _decode_context(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    unnamed = context.user.email and not context.user.id
    if unnamed or "tool" in context.metadata or "gateway" in context.metadata:
        return None
    context.request_id = context.request_id or request_id
    return Context(encode(context), None, context.request_id)


def admit_trace(trace: str) -> str:
    """Check a `traceparent`, where there is one; raises DoorError."""
    if trace and not accepted_trace(trace):
        raise DoorError("trace: it is no W3C traceparent")
    return accepted_trace(trace)
