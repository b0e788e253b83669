"""What one stage found about a server, as JSON that travels to the next: written and read in exactly one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated

import msgspec

from attest.verdict import Check, Outcome, Reason, Result

__all__ = ["BadResult", "Results", "StageResult", "read_result", "read_results"]


class BadResult(ValueError):
    """The object is no result of a stage."""


class _Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    path: str
    result: Result
    why: str = ""
    us: float = 0.0


class _Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: str
    path: str
    expected: str = ""
    actual: str = ""


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    kind: str
    server: str
    policy: str
    at: float
    pop: bool
    ms: float
    checks: list[_Check]
    reasons: list[_Reason]
    claims: dict[str, object]
    judged: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")] = ""


@dataclass(frozen=True, slots=True)
class StageResult:
    """What was found, about whom, under which policy, when, and whether the server proved that it holds its key."""

    kind: str
    server: str
    policy: str
    at: datetime
    pop: bool
    outcome: Outcome
    ms: float = 0.0
    """How long the stage took, the network included."""
    judged: str = ""
    """SHA-256, in hex, of the bytes that were judged, whatever came of it; empty where nothing was shown."""

    def as_json(self) -> dict[str, object]:
        """Write it."""
        return {
            "v": 1,
            "kind": self.kind,
            "server": self.server,
            "policy": self.policy,
            "at": self.at.timestamp(),
            "pop": self.pop,
            "ms": self.ms,
            "checks": [
                {"name": one.name, "path": one.path, "result": one.result.value, "why": one.why, "us": round(one.us, 3)}
                for one in self.outcome.checks
            ],
            "reasons": [
                {"code": one.code, "path": one.path, "expected": one.expected, "actual": one.actual}
                for one in self.outcome.reasons
            ],
            "claims": {name: _plain(value) for name, value in self.outcome.claims.items()},
            "judged": self.judged,
        }


@dataclass(frozen=True, slots=True)
class Results:
    """What a stage that asks several times found, and what the registrant is to answer before it comes again."""

    results: tuple[StageResult, ...] = ()
    asked: tuple[object, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Write it; where nothing was asked of anybody there is nothing to write."""
        if not self.results:
            return {}
        return {"results": [one.as_json() for one in self.results], "asked": list(self.asked)}


def read_results(value: object) -> Results:
    """Read what a stage handed on: one result, or several. Raises BadResult."""
    if not isinstance(value, dict) or "results" not in value:
        return Results((read_result(value),)) if value else Results()
    listed, asked = value["results"], value.get("asked", [])
    if value.keys() - {"results", "asked"} or not isinstance(listed, list) or not isinstance(asked, list):
        raise BadResult("not results of a stage")
    return Results(tuple(read_result(one) for one in listed), tuple(asked))


def read_result(value: object) -> StageResult:
    """Read it. Raises BadResult."""
    try:
        found = msgspec.convert(value, _Document)
        if found.v != 1:
            raise BadResult(f"version {found.v}")
        checks = tuple(Check(one.name, one.path, one.result, one.why, one.us) for one in found.checks)
        reasons = tuple(Reason(one.code, one.path, one.expected, one.actual) for one in found.reasons)
        at = datetime.fromtimestamp(found.at, UTC)
    except (msgspec.ValidationError, LookupError, ValueError, OverflowError, OSError) as error:
        raise BadResult(str(error)) from error
    claims: Mapping[str, object] = MappingProxyType(found.claims)
    outcome = Outcome(checks, reasons, claims)
    return StageResult(found.kind, found.server, found.policy, at, found.pop, outcome, found.ms, found.judged)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.timestamp()
    return list(value) if isinstance(value, tuple) else value
