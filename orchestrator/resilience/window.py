"""The last outcomes of the calls behind one breaker: a ring with one byte for each, counted as it turns."""

from __future__ import annotations

from pybreaker import STATE_CLOSED, CircuitMemoryStorage

__all__ = ["Window"]


class Window(CircuitMemoryStorage):
    """pybreaker's storage, whose failure counter counts within the last `size` outcomes.

    It begins closed and empty. What pybreaker stores otherwise, the state and the successes of a half-open breaker,
    is stored as it does; `opened_at` stays None, since it is a wall clock's and a breaker goes by a monotonic one.
    """

    def __init__(self, size: int) -> None:
        super().__init__(STATE_CLOSED)
        self._size = size
        self.reset_counter()

    def reset_counter(self) -> None:
        """Forget every outcome."""
        self._failed = bytearray(self._size)
        self._next = 0
        self._calls = 0
        self._failures = 0

    def increment_counter(self) -> None:
        """Take in a failure."""
        self.take(failed=True)

    @property
    def counter(self) -> int:
        """How many of the outcomes are failures."""
        return self._failures

    @property
    def calls(self) -> int:
        """How many outcomes are known, at most the size."""
        return self._calls

    @property
    def failure_rate(self) -> float:
        """The failures among the known outcomes, 0 to 1; 0 where none is known."""
        # Divided, never multiplied out: 7 / 100 is the float that 0.07 reads as, while 0.07 * 100 is more than 7.
        return self._failures / self._calls if self._calls else 0.0

    def take(self, failed: bool) -> None:
        """Take in an outcome in the place of the oldest."""
        place = self._next
        self._failures += failed - self._failed[place]
        self._failed[place] = failed
        self._next = place + 1 if place + 1 < self._size else 0
        if self._calls < self._size:
            self._calls += 1
