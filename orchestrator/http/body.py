"""The body of a request, read within bounds of size and time."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope

from orchestrator.http.failures import Failure

__all__ = ["Gone", "read_body"]

BODY_SECONDS = 30.0
"""A peer on the same machine sends what it announced at once, or hangs."""


class Gone(Exception):
    """The peer hung up before its request was whole."""


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises Failure where it is too large or too slow, and Gone."""
    announced = _announced(scope)
    if announced > limit:
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message["body"]
        return _fits(body, limit)
    parts = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while message["type"] == "http.request":
                parts += message["body"]
                if len(parts) > limit:
                    raise _too_large(limit)
                if not message.get("more_body"):
                    return bytes(parts)
                message = await receive()
    except TimeoutError:
        raise Failure("penstock.slow_body", f"the body did not come within {BODY_SECONDS:g} s") from None
    raise Gone


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _fits(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> Failure:
    return Failure("penstock.too_large", f"the body is larger than {limit} bytes")
