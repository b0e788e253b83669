"""Bytes to frames: one JSON message per line, cut without ever losing synchronisation.

A frame over the limit is the end of the conversation: whatever follows it cannot be trusted, because
the tail of an over-long line would read as a frame of its own and could forge an answer.
"""

from __future__ import annotations

__all__ = ["MAX_FRAME_BYTES", "FrameReader", "FrameTooLarge"]

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Longest line either side may send, newline included."""


class FrameTooLarge(Exception):
    """The stream holds a line longer than the limit; nothing more can be read from it."""


class FrameReader:
    """Cuts a stream into lines. Once it raised it stays closed and raises again."""

    __slots__ = ("_closed", "_limit", "_parts", "_size")

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._closed = False

    @property
    def pending(self) -> int:
        """Bytes of a line that has begun and not ended."""
        return self._size

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their newlines; raises FrameTooLarge."""
        if self._closed:
            raise FrameTooLarge
        if self._size == 0 and data.find(b"\n") == len(data) - 1 and 0 < len(data) <= self._limit:
            return [data[:-1]]
        return self._cut(data)

    def _cut(self, data: bytes) -> list[bytes]:
        *whole, rest = data.split(b"\n")
        lines = [self._complete(piece) for piece in whole]
        if rest:
            self._size += len(rest)
            self._parts.append(rest)
            if self._size >= self._limit:
                self._refuse()
        return lines

    def _complete(self, piece: bytes) -> bytes:
        if self._size + len(piece) + 1 > self._limit:
            self._refuse()
        if not self._parts:
            return piece
        self._parts.append(piece)
        line = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return line

    def _refuse(self) -> None:
        self._closed = True
        self._parts.clear()
        raise FrameTooLarge
