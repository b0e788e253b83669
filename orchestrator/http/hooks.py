"""`POST /v1/hooks/{hook}`: bytes in, the verdict out. Only the orchestrator's own door looks at the payload.

A caller that hangs up abandons its call: what is under way for it ends, and what it did is undone.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import msgspec
from starlette.types import Receive, Scope, Send

from orchestrator.door import DoorError
from orchestrator.engine.engine import NO_DEADLINE_SECONDS, UnknownHook
from orchestrator.faults import StageFault
from orchestrator.http.body import read_body
from orchestrator.http.failures import Failure, respond
from orchestrator.http.peer import Peer, peer_of
from orchestrator.http.standing import Phase, Standing
from orchestrator.orchestrator import HookResult, Orchestrator
from orchestrator.traces import accepted_request_id, accepted_trace, fresh_trace
from pipelines.answer import Violation
from pipelines.body import MAX_BODY_BYTES
from pipelines.suggest import nearest

__all__ = ["HookAnswer", "HookDoor", "HookRequest"]

MAX_REQUEST_BYTES = 2 * MAX_BODY_BYTES + 64 * 1024
"""A payload and a context as large as they may be, and what stands around them."""

_OBJECT = msgspec.Meta(extra_json_schema={"type": "object"})
_NULL = b"null"


class HookRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A call. `within_ms` bounds it beside the deadline of each pipeline; docs/hooks.md has payloads and contexts."""

    payload: Annotated[msgspec.Raw, _OBJECT]
    context: Annotated[msgspec.Raw, _OBJECT] = msgspec.field(default_factory=msgspec.Raw)
    idempotency_key: str | None = None
    within_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Error(msgspec.Struct, rename={"kind": "class"}):
    """What went wrong in a run that failed: one of the classes and codes of docs/errors.md."""

    kind: str
    code: str
    message: str


class HookAnswer(msgspec.Struct):
    """The one answer. `payload` is as the pipelines left it, and as it came where the verdict is deny.

    `violation` says why it was denied, `error` what went wrong; `run_id` names the run that decided, null without one.
    """

    verdict: Literal["allow", "modify", "deny"]
    payload: Annotated[msgspec.Raw, _OBJECT]
    violation: Violation | None
    error: Error | None
    hints: dict[str, object] | None
    state: dict[str, object] | None
    result: dict[str, object] | None
    run_id: str | None


_read = msgspec.json.Decoder(HookRequest).decode
_write = msgspec.json.Encoder().encode
_CLOSE = ((b"connection", b"close"),)


class HookDoor:
    """An ASGI endpoint; raises Failure and Gone."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        host = self._standing.host
        hook: str = scope["path_params"]["hook"]
        _must_know(host, hook)
        call = _understood(await read_body(scope, receive, MAX_REQUEST_BYTES))
        result = await _invoked(host, hook, call, scope, peer_of(scope))
        if result is not None:
            last = self._standing.phase is Phase.DRAINING
            await respond(send, _answer(result), headers=_CLOSE if last else ())


def _must_know(host: Orchestrator, hook: str) -> None:
    if hook not in host.engine.serving.hooks:
        close = nearest(hook, host.engine.serving.hooks)
        meant = f"; did you mean {close!r}?" if close else ""
        raise Failure("penstock.unknown_hook", f"there is no hook {hook!r}{meant}", UnknownHook.hint)


def _understood(body: bytes) -> HookRequest:
    try:
        call = _read(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        hint = 'the body is {"payload": {...}, "context": {...}, "idempotency_key": "...", "within_ms": 250}'
        raise Failure("penstock.bad_request", f"the body is no call: {error}", hint) from None
    for name, part in (("payload", call.payload), ("context", call.context)):
        if len(memoryview(part)) > MAX_BODY_BYTES:
            raise Failure("penstock.too_large", f"the {name} is larger than {MAX_BODY_BYTES} bytes")
    return call


async def _invoked(host: Orchestrator, hook: str, call: HookRequest, scope: Scope, peer: Peer) -> HookResult | None:
    """What the call came to; None when its caller went away meanwhile."""
    trace = request_id = ""
    for name, value in scope["headers"]:
        if name == b"traceparent":
            trace = accepted_trace(value.decode("latin-1"))
        elif name == b"x-request-id":
            request_id = accepted_request_id(value.decode("latin-1"))
    context = bytes(call.context)
    with _Leash(peer) as leash:
        try:
            return await host.invoke(
                hook,
                bytes(call.payload),
                None if context == _NULL else context or None,
                within_seconds=NO_DEADLINE_SECONDS if call.within_ms is None else call.within_ms / 1000,
                idempotency_key=call.idempotency_key,
                trace=trace or fresh_trace(),
                request_id=request_id,
            )
        except DoorError as error:
            raise Failure("penstock.bad_request", str(error), error.hint) from None
        except asyncio.CancelledError:
            if leash.was_pulled():
                return None
            raise


class _Leash:
    """Inside, the task is cancelled when its peer hangs up: that is how `Orchestrator.invoke` is told."""

    __slots__ = ("_inside", "_peer", "_pulled", "_task")

    def __init__(self, peer: Peer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._peer = peer
        self._inside = True
        self._pulled = False

    def __enter__(self) -> _Leash:
        self._peer.lost.add_done_callback(self._pull)
        return self

    def __exit__(self, *_: object) -> None:
        self._inside = False  # a call of `_pull` may be scheduled already
        self._peer.lost.remove_done_callback(self._pull)

    def _pull(self, _: object) -> None:
        if self._inside:
            self._pulled = True
            self._task.cancel()

    def was_pulled(self) -> bool:
        """Whether that is why the task was cancelled, and the only reason; it then is cancelled no more."""
        return self._pulled and not self._task.uncancel()


def _answer(result: HookResult) -> bytes:
    reply = result.reply
    return _write(
        HookAnswer(
            reply.verdict,  # type: ignore[arg-type]  # one of the three
            msgspec.Raw(reply.payload),
            reply.violation,
            None if reply.fault is None else _error(reply.fault),
            reply.hints,  # type: ignore[arg-type]  # a dict, in a read-only coat
            reply.state,  # type: ignore[arg-type]  # the same
            reply.result,  # type: ignore[arg-type]  # the same
            reply.run_id,
        )
    )


def _error(fault: StageFault) -> Error:
    return Error(fault.kind, fault.code, fault.message)
