"""What the outcome of a call means to the breaker that watches it."""

from __future__ import annotations

from orchestrator.faults import FaultError, StageFault
from orchestrator.resilience.breaker import Breaker, Permit
from orchestrator.resilience.errors import BreakerOpen

__all__ = ["Recording", "Watching", "admit", "conclude", "counts"]

_SAYS_NOTHING = frozenset({"Busy", "Shutdown", "Abandoned", "Parked", "InternalError"})


def counts(fault: StageFault) -> bool:
    """Whether a fault says something about the plugin.

    A full queue, a caller that left, a host that stops, a bug of ours, or a call that was never fit to be sent do not.
    """
    if fault.kind in _SAYS_NOTHING:
        return False
    return fault.sent or not fault.final or fault.code == "penstock.worker_lost"


def admit(breaker: Breaker) -> Permit | StageFault:
    """A permit for one call, or why the breaker gives none."""
    try:
        return breaker.admit()
    except BreakerOpen as error:
        return StageFault("BreakerOpen", error.code, str(error), sent=False, final=True)


def conclude(breaker: Breaker, permit: Permit, fault: StageFault | None) -> None:
    """Give a permit back, with what came of the call; None is an answer, a violation too."""
    if fault is None:
        breaker.succeeded(permit)
    elif counts(fault):
        breaker.failed(permit, FaultError(fault))
    else:
        breaker.released(permit)


class Recording:
    """Tells a breaker what came of calls that it never stops."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def before(self) -> StageFault | None:
        """Let every try through."""
        return None

    def after(self, fault: StageFault | None) -> None:
        """Note what came of it."""
        if fault is None:
            self._breaker.record(None)
        elif counts(fault):
            self._breaker.record(FaultError(fault))


class Watching:
    """Asks a breaker before each try."""

    _permit: Permit | None = None

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def before(self) -> StageFault | None:
        """Why the try must not be made."""
        found = admit(self._breaker)
        if isinstance(found, StageFault):
            return found
        self._permit = found
        return None

    def after(self, fault: StageFault | None) -> None:
        """Give the permit back."""
        permit, self._permit = self._permit, None
        if permit is not None:
            conclude(self._breaker, permit, fault)
