"""Bytes in, lines out; and the one way out for lines. Knows nothing of what the lines say."""

from __future__ import annotations

import os
from _thread import RLock

__all__ = ["FrameTooLarge", "Lines", "Sink"]


class FrameTooLarge(Exception):
    """A line went over the limit. There is no resynchronising: its tail would look like a new line."""


class Lines:
    """Cuts what arrives into lines, without their newline, and bounds how long one may be."""

    __slots__ = ("_parts", "_size", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, in order. Raises FrameTooLarge."""
        end = data.find(b"\n")
        if end < 0:
            self._keep(data)
            return []
        if end == len(data) - 1:  # one line, the common case
            lines, rest = [data[:end]], b""
        else:
            lines = data.split(b"\n")
            rest = lines.pop()
        if self._parts:
            self._parts.append(lines[0])
            lines[0] = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
        if rest:
            self._keep(rest)
        if max(map(len, lines)) > self.limit:
            raise FrameTooLarge
        return lines

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > self.limit:
            raise FrameTooLarge


class Sink:
    """Writes whole lines to the host. Threads may log while another answers; no line is cut by another.

    A signal handler that writes while its own thread is inside a write is queued behind it. A forked child must
    never write frames, so it gets a silent sink.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._lock = RLock()
        self._waiting: list[bytes] = []
        self._writing = False

    def write(self, line: bytes) -> None:
        """Hand one line over before returning. Raises BrokenPipeError when the host is gone."""
        with self._lock:
            if self.descriptor < 0:
                return
            if self._writing:
                self._waiting.append(line)
                return
            self._writing = True
            try:
                self._drain(line)
            finally:
                self._writing = False

    def _drain(self, line: bytes) -> None:
        while True:
            sent = os.write(self.descriptor, line)
            while sent < len(line):
                sent += os.write(self.descriptor, memoryview(line)[sent:])
            if not self._waiting:
                return
            line = self._waiting.pop(0)

    def silence(self) -> None:
        """Write nothing any more, and let go of the pipe: this process is a fork of the worker."""
        self._lock = RLock()  # the old one may be held by a thread that does not exist here
        os.close(self.descriptor)
        self.descriptor = -1
