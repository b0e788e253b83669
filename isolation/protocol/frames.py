"""Bytes to frames: one JSON message per line, cut without ever losing synchronisation.

A frame over the limit is the end of the conversation: whatever follows it cannot be trusted, because
the tail of an over-long line would read as a frame of its own and could forge an answer.
"""

from __future__ import annotations

from typing import NoReturn

__all__ = ["MAX_FRAME_BYTES", "FrameReader", "FrameTooLarge"]

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Longest line either side may send, newline included."""


SMALL_PIECE_BYTES = 4096
"""Pieces of a line are joined up to this size: a line sent byte by byte needs little more memory than its bytes."""


class FrameTooLarge(Exception):
    """The stream holds a line longer than the limit; nothing more can be read from it.

    `frames` are the whole lines that came before it, so that what is read does not depend on how the bytes were cut.
    """

    def __init__(self, frames: tuple[bytes, ...] = ()) -> None:
        super().__init__("a line is longer than the limit")
        self.frames = frames


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
            raise FrameTooLarge()
        if self._size == 0 and data.find(b"\n") == len(data) - 1 and 0 < len(data) <= self._limit:
            return [data[:-1]]
        return self._cut(data)

    def _cut(self, data: bytes) -> list[bytes]:
        *whole, rest = data.split(b"\n")
        lines: list[bytes] = []
        for piece in whole:
            if self._size + len(piece) >= self._limit:
                self._refuse(lines)
            lines.append(self._complete(piece))
        if self._size + len(rest) >= self._limit:
            self._refuse(lines)
        if rest:
            self._keep(rest)
        return lines

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._parts and len(self._parts[-1]) < SMALL_PIECE_BYTES:
            self._parts[-1] += piece
        else:
            self._parts.append(piece)

    def _complete(self, piece: bytes) -> bytes:
        if not self._parts:
            return piece
        self._parts.append(piece)
        line = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return line

    def _refuse(self, before: list[bytes]) -> NoReturn:
        self._closed = True
        self._parts.clear()
        self._size = 0
        raise FrameTooLarge(tuple(before))
