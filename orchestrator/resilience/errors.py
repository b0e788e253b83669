"""What a breaker raises: a refusal, which is business, and the misuse of a permit, which is a bug."""

from __future__ import annotations

from pybreaker import CircuitBreakerError

__all__ = ["BreakerOpen", "IllegalSettlement"]


class BreakerOpen(CircuitBreakerError):
    """The call was not admitted. `retry_seconds` says when one may be; None where no time says so."""

    code = "penstock.breaker_open"
    hint = "`penstock breakers` shows what it counted; the plugin's log has the errors"

    def __init__(self, breaker: str, why: str, retry_seconds: float | None = None) -> None:
        super().__init__(f"breaker {breaker} {why}")
        self.breaker = breaker
        self.retry_seconds = retry_seconds


class IllegalSettlement(Exception):
    """A permit was settled a second time, or with a breaker that did not give it. Nothing has changed."""
