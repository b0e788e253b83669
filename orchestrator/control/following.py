"""A stream as a door passes it on: until it ends, its caller hangs up or the host stops; a beat where it is silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, TypeVar

__all__ = ["followed"]

_Item = TypeVar("_Item")
_End = TypeVar("_End")


async def followed(
    stream: AsyncIterator[_Item], *ends: asyncio.Future[_End], beat_seconds: float
) -> AsyncGenerator[_Item | None]:
    """The items of `stream`, None after so many seconds without one; over when it is, or when one of `ends` is done.

    Whoever iterates closes this (`contextlib.aclosing`); that closes the stream, too.
    """
    coming: asyncio.Future[_Item] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(stream))
            awaited: list[asyncio.Future[Any]] = [coming, *ends]
            await asyncio.wait(awaited, timeout=beat_seconds, return_when=asyncio.FIRST_COMPLETED)
            if any(end.done() for end in ends):
                return
            if not coming.done():
                yield None
                continue
            if isinstance(coming.exception(), StopAsyncIteration):
                return
            item, coming = coming.result(), None
            yield item
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait({coming})
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
