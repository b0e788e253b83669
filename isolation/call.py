"""One call to a plugin, from the moment somebody wants it to its one end."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

import msgspec

from isolation.errors import CallCancelled, CallError, DeadlineExceeded, PluginBusy, PluginError, RetryableError
from isolation.protocol import messages
from isolation.protocol.messages import Fault, Invocation

__all__ = ["Call", "Outstanding", "error_of"]

log = logging.getLogger("penstock.call")


class Outstanding(ABC):
    """Something that a worker owes an answer. Exactly one of `answered` and `failed` is called, once.

    `settled` is True when nobody waits any more; an answer that still comes is then dropped. What those two raise
    is logged and goes no further: one caller's fault must not cost another its answer.
    """

    settled = False

    def settle(self) -> bool:
        """Note the end of the wait; False when it had ended before."""
        waiting = not self.settled
        self.settled = True
        return waiting

    def resolve(self, result: msgspec.Raw) -> None:
        """End the wait with a result, unless it has ended before."""
        if self.settle():
            try:
                self.answered(result)
            except Exception:  # the caller's code; see the class
                log.exception("call.callback_failed")

    def reject(self, error: CallError) -> None:
        """End the wait with an error, unless it has ended before."""
        if self.settle():
            try:
                self.failed(error)
            except Exception:  # the caller's code; see the class
                log.exception("call.callback_failed")

    @abstractmethod
    def answered(self, result: msgspec.Raw) -> None:
        """Take the result, raw JSON."""

    @abstractmethod
    def failed(self, error: CallError) -> None:
        """Take the plugin's error, or the reason why no answer will come."""


class Call(Outstanding):
    """One attempt of one stage. `deadline`, `queued_at` and `sent_at` are seconds of the monotonic clock.

    `number` is 0 and `worker` empty until the call is written to a worker; `expired` once its deadline was seen to.
    What a new call has not yet stands in the class: one is made for every stage of every run.
    """

    invocation: Invocation
    deadline: float
    queued_at = 0.0
    sent_at = 0.0
    number = 0
    worker = ""
    expired = False

    def __init__(self, invocation: Invocation, deadline: float) -> None:
        self.invocation = invocation
        self.deadline = deadline


def error_of(fault: Fault) -> CallError:
    """Turn the plugin's error object into the error its caller sees."""
    if fault.code == messages.CANCELLED:
        return CallCancelled(fault.message)
    if fault.code == messages.DEADLINE_EXCEEDED:
        return DeadlineExceeded(fault.message)
    if fault.code == messages.PLUGIN_BUSY:
        return PluginBusy(fault.message)
    kind = RetryableError if fault.code == messages.RETRYABLE else PluginError
    return kind(fault.message, number=fault.code, data=fault.data)
