"""What a verification came to: checks that ran, reasons against, and the one verdict that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import ClassVar, Concatenate, NamedTuple, ParamSpec

from attest.codes import CODES, Effect

__all__ = ["UNAUTHENTICATED", "Check", "Findings", "Outcome", "Reason", "Result", "Verdict", "milliseconds", "together"]

UNAUTHENTICATED = "unauthenticated"
"""Why a check was skipped: what it would read is not covered by a signature that verifies."""

_LONGEST_TEXT = 200
"""Characters of `expected` and `actual`: what is quoted may be hostile and long."""

P = ParamSpec("P")


class Verdict(Enum):
    """Whether to let the server in. Deny wins over error, error over admit."""

    ADMIT = "admit"
    DENY = "deny"
    ERROR = "error"


class Result(Enum):
    """How one check ended."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"


_PASS, _FAIL, _SKIP = Result.PASS, Result.FAIL, Result.SKIP  # a look-up of an enum's member costs as much as a check
_new = tuple.__new__  # and so does the constructor of a named tuple, which fills in defaults


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that speaks against: a code of the table, where it is, what was expected and what was there."""

    code: str
    path: str
    expected: str = ""
    actual: str = ""

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise LookupError(f"{self.code} is not in the table of codes")

    @property
    def effect(self) -> Effect:
        """What the code makes of the verdict."""
        return CODES[self.code]


class Check(NamedTuple):
    """One check at one place. `why` says what kept a skipped one from running."""

    name: str
    path: str
    result: Result
    why: str = ""
    us: float = 0.0
    """Microseconds that it took; 0.0 where nobody gave a timer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that one verification found."""

    checks: tuple[Check, ...] = ()
    reasons: tuple[Reason, ...] = ()
    claims: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def verdict(self) -> Verdict:
        """Admit only if something passed and nothing speaks against it."""
        effects = {reason.effect for reason in self.reasons}
        if Effect.DENY in effects:
            return Verdict.DENY
        if effects:
            return Verdict.ERROR
        passed = any(check.result is Result.PASS for check in self.checks)
        return Verdict.ADMIT if passed else Verdict.DENY

    @property
    def retryable(self) -> bool:
        """Whether the same input may come to another verdict later: an error, and nothing but lacking things."""
        return self.verdict is Verdict.ERROR and all(reason.effect is Effect.RETRY for reason in self.reasons)

    @property
    def codes(self) -> frozenset[str]:
        """The codes of all reasons."""
        return frozenset(reason.code for reason in self.reasons)


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Join what several verifiers found about one server; claims of later ones win over earlier ones of that name.

    One verifier that checked nothing makes the whole a denial: it would have passed for a witness.
    """
    reasons = [reason for outcome in outcomes for reason in outcome.reasons]
    idle = [outcome for outcome in outcomes if not outcome.reasons and outcome.verdict is not Verdict.ADMIT]
    if idle or not outcomes:
        reasons.append(Reason("C-NOT-VERIFIED", "", "a check that passed", "none"))
    claims = {name: value for outcome in outcomes for name, value in outcome.claims.items()}
    checks = tuple(check for outcome in outcomes for check in outcome.checks)
    return Outcome(checks, tuple(reasons), MappingProxyType(claims))


def milliseconds(checks: Iterable[Check]) -> dict[str, float]:
    """Return what the checks that ran took, by name, each the sum over all places where it ran."""
    sums: dict[str, float] = {}
    for check in checks:
        if check.result is not _SKIP or check.us:
            sums[check.name] = sums.get(check.name, 0.0) + check.us
    return {name: round(us / 1000, 3) for name, us in sums.items()}


def _no_time() -> float:
    return 0.0


class Findings:
    """Collects checks and reasons while one verification runs."""

    __slots__ = ("_checks", "_reasons")

    timer: ClassVar[Callable[[], float]] = staticmethod(_no_time)
    """Seconds since whenever. No clock is read here: who has one puts it here, before anything is verified."""

    def __init__(self) -> None:
        self._checks: list[Check] = []
        self._reasons: list[Reason] = []

    def run(
        self,
        name: str,
        path: str,
        check: Callable[Concatenate[Findings, str, P], str | None],
        *a: P.args,
        **k: P.kwargs,
    ) -> bool:
        """Run one check, note how it ended and how long it took, and say whether nothing speaks against it.

        A check that finds that it cannot tell, and that this is no reason, returns why: it was skipped then.
        """
        before, timer = len(self._reasons), Findings.timer
        begun = timer()
        why = check(self, path, *a, **k)
        us = (timer() - begun) * 1e6
        passed = len(self._reasons) == before
        result = _SKIP if why else _PASS if passed else _FAIL
        self._checks.append(_new(Check, (name, path, result, why or "", us)))
        return passed

    def against(self, code: str, path: str, expected: object = "", actual: object = "") -> None:
        """Note a reason."""
        self._reasons.append(Reason(code, path, str(expected)[:_LONGEST_TEXT], str(actual)[:_LONGEST_TEXT]))

    def skip(self, name: str, path: str, why: str) -> None:
        """Note that a check could not run."""
        self._checks.append(Check(name, path, Result.SKIP, why))

    def add(self, outcome: Outcome) -> None:
        """Take over what another verification found."""
        self._checks.extend(outcome.checks)
        self._reasons.extend(outcome.reasons)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The reasons so far."""
        return tuple(self._reasons)

    @property
    def clean(self) -> bool:
        """Whether nothing speaks against it so far."""
        return not self._reasons

    def outcome(self, **claims: object) -> Outcome:
        """Return what was found; claims are kept only where nothing speaks against them."""
        kept = claims if self.clean else {}
        return Outcome(tuple(self._checks), tuple(self._reasons), MappingProxyType(kept))
