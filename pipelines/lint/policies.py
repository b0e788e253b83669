"""Policies of retries, breakers and restarts: each checked once where it is written, then looked up by who uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pipelines.file.policies import (
    DEFAULT_CLASSES,
    DEFAULT_MINIMUM_CALLS,
    LONGEST_RESTART_SECONDS,
    LONGEST_RETRY_SECONDS,
    BackoffSpec,
    BreakerSpec,
    RestartBackoffSpec,
    RestartSpec,
    RetryClass,
    RetrySpec,
)
from pipelines.file.section import NONE
from pipelines.file.tree import Path, show_path
from pipelines.lint.draft import Draft
from pipelines.lint.uses import Use
from pipelines.plan import DEFAULT_UNDO_RETRY, BreakerPolicy, RestartPolicy, RetryPolicy
from pipelines.suggest import nearest

__all__ = ["Policies"]

SAFE = frozenset({RetryClass.BUSY.value, RetryClass.RETRYABLE.value})
"""After these the plugin has done nothing, by its own word; after any other the outcome of the call is unknown."""

_DEFAULTS: Path = ("defaults", "stage")

_Policy = TypeVar("_Policy")


@dataclass(slots=True)
class Policies:
    """All policies of a file. Those written in place are named by it."""

    draft: Draft
    retries: Mapping[str, RetryPolicy] = field(init=False)
    breakers: Mapping[str, BreakerPolicy] = field(init=False)
    restarts: Mapping[str, RestartPolicy] = field(init=False)
    _default_retry: RetryPolicy | None = field(init=False)
    _default_breaker: BreakerPolicy | None = field(init=False)

    def __post_init__(self) -> None:
        written, defaults = self.draft.spec.policies, self.draft.spec.defaults.stage
        self._check_names()
        self.retries = {n: self._retry(("policies", "retries", n), s, n) for n, s in written.retries.items()}
        self.breakers = {n: self._breaker(("policies", "breakers", n), s, n) for n, s in written.breakers.items()}
        self.restarts = {n: self._restart(("policies", "restarts", n), s) for n, s in written.restarts.items()}
        self._default_retry = self._said_retry((*_DEFAULTS, "retry"), defaults.retry)
        self._default_breaker = self._said_breaker((*_DEFAULTS, "breaker"), defaults.breaker)

    def _check_names(self) -> None:
        """`none` stands for no policy, so none of those that may be waived can have that name."""
        for kind in ("retries", "breakers"):
            path: Path = ("policies", kind, NONE)
            if NONE in self.draft.names(path[:-1]):
                message = f"{NONE!r} says that there is no policy and cannot be the name of one"
                self.draft.error(path, "bad-name", message, at=self.draft.key(path))

    def retry(self, path: Path, written: str | RetrySpec | None, use: Use) -> RetryPolicy | None:
        """The retry policy of a stage: its own, which must not ask for too much, or the default, which is narrowed."""
        policy = self._default_retry if written is None else self._said_retry(path, written)
        if policy is None or use.declaration is None or use.declaration.idempotent or policy.on <= SAFE:
            return policy
        if written is not None and policy.attempts > 1:
            self._refuse(path, written, policy, use)
        return replace(policy, on=policy.on & SAFE)

    def undo_retry(self, path: Path, written: str | RetrySpec | None) -> RetryPolicy | None:
        """The retry policy of a compensation, which may always be repeated: an undo is for calls of unknown outcome."""
        if written is not None:
            return self._said_retry(path, written)
        return DEFAULT_UNDO_RETRY if self.draft.spec.defaults.stage.retry is None else self._default_retry

    def breaker(self, path: Path, written: str | BreakerSpec | None) -> BreakerPolicy | None:
        """The breaker policy of a stage: its own or the default."""
        return self._default_breaker if written is None else self._said_breaker(path, written)

    def restart(self, path: Path, written: str | RestartSpec | None) -> RestartPolicy | None:
        """The restart policy written at `path`."""
        if isinstance(written, RestartSpec):
            return self._restart(path, written)
        return None if written is None else self._named(path, written, "restarts", self.restarts)

    def _said_retry(self, path: Path, written: str | RetrySpec | None) -> RetryPolicy | None:
        if isinstance(written, RetrySpec):
            return self._retry(path, written, show_path(path))
        return None if written in (None, NONE) else self._named(path, str(written), "retries", self.retries)

    def _said_breaker(self, path: Path, written: str | BreakerSpec | None) -> BreakerPolicy | None:
        if isinstance(written, BreakerSpec):
            return self._breaker(path, written, show_path(path))
        return None if written in (None, NONE) else self._named(path, str(written), "breakers", self.breakers)

    def _named(self, path: Path, name: str, kind: str, known: Mapping[str, _Policy]) -> _Policy | None:
        at: Path = ("policies", kind)
        names = self.draft.names(at)
        if name not in names and not self.draft.log.is_spoiled(at):
            message = f"there is no policy {name!r} under `policies.{kind}`"
            near = nearest(name, names if kind == "restarts" else (*names, NONE))
            self.draft.error(path, "unknown-policy", message, near)
        return known.get(name)

    def _retry(self, path: Path, spec: RetrySpec, name: str) -> RetryPolicy:
        back = spec.backoff
        longest = self._longest((*path, "backoff"), back, LONGEST_RETRY_SECONDS)
        if spec.attempts == 1 and {"backoff", "on"} & {*self.draft.names(path)} and not self.draft.log.is_touched(path):
            message = "with `attempts: 1` a call is tried once, so nothing else here is ever used"
            self.draft.warn((*path, "attempts"), "idle-policy", message)
        classes = DEFAULT_CLASSES if spec.on is None else spec.on
        for i, found in enumerate(classes):
            if isinstance(found, RetryClass) and found in classes[:i]:
                self.draft.error((*path, "on", i), "wrong-value", f"{found.value} is written twice")
        on = frozenset(found.value for found in classes if isinstance(found, RetryClass))
        return RetryPolicy(name, spec.attempts, on, back.initial, longest, back.factor, back.jitter)

    def _longest(self, path: Path, back: BackoffSpec | RestartBackoffSpec, default: float) -> float:
        if back.max is None:
            return max(default, back.initial)
        if back.max < back.initial:
            self.draft.error((*path, "max"), "bad-policy", "the longest pause is shorter than the first, `initial`")
        return back.max

    def _breaker(self, path: Path, spec: BreakerSpec, name: str) -> BreakerPolicy:
        least = spec.minimum_calls
        if least is None:
            least = min(DEFAULT_MINIMUM_CALLS, spec.window)
        elif least > spec.window:
            message = f"{least} calls never stand in a window of {spec.window}, so the breaker would never open"
            self.draft.error((*path, "minimum_calls"), "bad-policy", message)
        return BreakerPolicy(name, spec.window, least, spec.failure_rate, spec.open_for, spec.probes)

    def _restart(self, path: Path, spec: RestartSpec) -> RestartPolicy:
        back = spec.backoff
        longest = self._longest((*path, "backoff"), back, LONGEST_RESTART_SECONDS)
        return RestartPolicy(spec.intensity, spec.period, back.initial, longest, back.factor)

    def _refuse(self, path: Path, written: str | RetrySpec, policy: RetryPolicy, use: Use) -> None:
        """Report what a policy asks beyond what the stage can bear: at each class, where classes are written here."""
        remedy = "`idempotent = true` belongs into its manifest if it may, else write `on: [Busy, Retryable]`"
        unknown = f"leaves unknown what was done, and {use.plugin}/{use.stage} does not say that it may be called twice"
        if isinstance(written, RetrySpec) and written.on is not None:
            for i, found in enumerate(written.on):
                if isinstance(found, RetryClass) and found.value not in SAFE:
                    self.draft.error((*path, "on", i), "unsafe-retry", f"{found.value} {unknown}: {remedy}")
            return
        classes = " or ".join(sorted(policy.on - SAFE))
        self.draft.error(path, "unsafe-retry", f"it also repeats after {classes}, which {unknown}: {remedy}")
