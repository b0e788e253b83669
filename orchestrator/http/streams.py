"""Streams as server-sent events: each object is an event of its type; a comment beats where there is silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing

import msgspec
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from orchestrator.control.following import followed
from orchestrator.control.refusal import Refused
from orchestrator.http.failures import failure_of
from orchestrator.http.params import params_of
from orchestrator.http.peer import peer_of
from orchestrator.http.standing import Standing

__all__ = ["BEAT", "EVENT_STREAM", "StreamDoor"]

log = logging.getLogger("penstock.http")

BEAT_SECONDS = 10.0
"""How often a listener hears that the host lives."""

BEAT = b": beat\n\n"

EVENT_STREAM = b"text/event-stream"
_HEAD = [(b"content-type", EVENT_STREAM), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]


class StreamDoor:
    """An ASGI endpoint for one stream of the table, or for the one that the path names; raises Failure."""

    def __init__(self, standing: Standing, name: str = "", *, beat_seconds: float = BEAT_SECONDS) -> None:
        self._standing = standing
        self._name = name
        self._beat_seconds = beat_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one listener until it hangs up, the stream ends or the host stops."""
        control = self._standing.host.control
        name: str = self._name or scope["path_params"]["name"]
        kind = control.streams[name][0] if name in control.streams else None
        query = QueryParams(scope["query_string"])
        try:
            params = {} if kind is None else params_of(query, kind)
            stream = control.stream(name, params, by=peer_of(scope).actor)
        except Refused as error:
            raise failure_of(error) from error
        task = asyncio.current_task()
        assert task is not None
        self._standing.listeners[task] = peer_of(scope)
        try:
            await self._pass_on(stream, scope, send)
        finally:
            del self._standing.listeners[task]

    async def _pass_on(self, stream: AsyncIterator[Mapping[str, object]], scope: Scope, send: Send) -> None:
        ends = (peer_of(scope).lost, self._standing.closing)
        await send({"type": "http.response.start", "status": 200, "headers": _HEAD})
        await send({"type": "http.response.body", "body": BEAT, "more_body": True})
        try:
            async with aclosing(followed(stream, *ends, beat_seconds=self._beat_seconds)) as items:
                async for item in items:
                    chunk = BEAT if item is None else _event(_kind(item), item)
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except Refused as error:
            await send({"type": "http.response.body", "body": _refusal(error), "more_body": True})
        except Exception:
            log.exception("http.stream_crashed")
            failed = Refused("penstock.internal", "the host failed while it followed the stream", "its log says more")
            await send({"type": "http.response.body", "body": _refusal(failed), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _kind(item: Mapping[str, object]) -> str:
    kind = str(item.get("type", ""))
    return kind if kind.isidentifier() else "item"


def _event(kind: str, item: Mapping[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(item))


def _refusal(error: Refused) -> bytes:
    return _event("error", {"code": error.code, "message": str(error), "hint": error.hint})
