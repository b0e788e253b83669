"""Run ids: 26 characters of Crockford's base 32 that sort by time, as ULIDs do, made without a system call each."""

from __future__ import annotations

import os
import time

__all__ = ["RunIds"]

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_COUNTS = 1 << 30


def _digits(value: int, count: int) -> str:
    return "".join(_ALPHABET[value >> 5 * place & 31] for place in reversed(range(count)))


class RunIds:
    """Draws a time and fresh randomness every so often and counts in between, so that ids of one host never repeat."""

    __slots__ = ("_count", "_last", "_prefix")

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        # 10 digits of milliseconds, 10 of randomness, 6 of a count.
        self._prefix = _digits(time.time_ns() // 1_000_000, 10) + _digits(int.from_bytes(os.urandom(7), "big"), 10)
        self._count = 0
        self._last = time.monotonic() + 1.0

    def next(self, now: float) -> str:
        """A new id; `now` is the monotonic clock in seconds."""
        if now > self._last or self._count >= _COUNTS:
            self._renew()
        count = self._count = self._count + 1
        return self._prefix + _PAIRS[count >> 20 & 1023] + _PAIRS[count >> 10 & 1023] + _PAIRS[count & 1023]
