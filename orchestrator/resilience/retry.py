"""Whether a call that failed is tried again, and after which pause: tenacity decides, callers wait.

Nothing here is made before a first failure, and nothing sleeps. What may be repeated:

- a call that was never sent, always;
- a call that the plugin itself refused for now (Busy, Retryable), where the policy names that class;
- a call of unknown outcome, where the policy names its class and the stage is idempotent, and after its worker died at
  most once: a call that kills whoever takes it must not take down all replicas.

Open breakers, violations and errors that another try cannot mend are never repeated.
"""

from __future__ import annotations

from collections.abc import Callable

import tenacity
from tenacity import DoSleep, RetryCallState, RetryError, Retrying, retry_if_exception, stop_after_attempt
from tenacity.stop import stop_base
from tenacity.wait import wait_base, wait_exponential

from orchestrator.faults import FaultError, StageFault
from pipelines.plan import Jitter, RetryPolicy

__all__ = ["Retries", "Trail"]

Draw = Callable[[float, float], float]
"""A number between two, as `random.uniform` draws it."""

SAFE = frozenset({"Busy", "Retryable"})
"""Classes by which a plugin says that the call had no effect."""

NEVER = frozenset({"BreakerOpen"})


class _Backoff(wait_base):
    """The policy's backoff; jittered, any pause up to it, from randomness that is handed in."""

    def __init__(self, policy: RetryPolicy, draw: Draw) -> None:
        self._most = wait_exponential(policy.initial_seconds, policy.longest_seconds, policy.factor)
        self._draw = draw if policy.jitter is Jitter.FULL else None

    def __call__(self, retry_state: RetryCallState) -> float:
        most = self._most(retry_state)
        return most if self._draw is None else self._draw(0.0, most)


class _SecondDeath(stop_base):
    """Stop after the attempt that followed one during which the worker died."""

    def __call__(self, retry_state: RetryCallState) -> bool:
        died_before = bool(retry_state.kwargs.get("died"))
        retry_state.kwargs["died"] = died_before or _died(_fault_in(retry_state))
        return died_before


def _fault_in(state: RetryCallState) -> StageFault:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, FaultError)
    return error.fault


def _died(fault: StageFault) -> bool:
    return fault.sent and fault.kind == "WorkerLost"


class Trail:
    """The failures of one stage of one run so far."""

    def __init__(self, retrying: Retrying) -> None:
        retrying.begin()
        self._retrying = retrying
        self._state = RetryCallState(retrying, None, (), {})

    def pause(self, fault: StageFault) -> float | None:
        """Note a failed attempt; return the seconds to wait before the next, None when there must be none."""
        self._state.set_exception((FaultError, FaultError(fault), None))
        try:
            wanted = self._retrying.iter(self._state)
        except (RetryError, FaultError):
            return None
        assert isinstance(wanted, DoSleep)
        self._state.prepare_for_next_attempt()
        return float(wanted)


class Retries:
    """The retries of one stage: what its policy and its manifest allow. `draw` is the randomness of the jitter."""

    def __init__(self, policy: RetryPolicy, *, idempotent: bool, draw: Draw) -> None:
        self.policy = policy
        self._idempotent = idempotent
        self._retrying = Retrying(
            stop=tenacity.stop_any(_SecondDeath(), stop_after_attempt(policy.attempts)),
            wait=_Backoff(policy, draw),
            retry=retry_if_exception(self._may_repeat),
        )

    def begin(self) -> Trail:
        """Start to count: a first attempt has failed."""
        return Trail(self._retrying)

    def _may_repeat(self, error: BaseException) -> bool:
        assert isinstance(error, FaultError)
        fault = error.fault
        if fault.final or fault.kind in NEVER:
            return False
        if not fault.sent:
            return True
        return fault.kind in self.policy.on and (self._idempotent or fault.kind in SAFE)
