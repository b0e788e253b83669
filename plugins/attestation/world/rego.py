"""An operator's own rules in Rego, beside the typed policy: they may only object, and are asked in a child as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from attest.strictjson import Json
from attest.verdict import Findings, Outcome

from world.sandbox import VERIFYING, Died, run_apart

__all__ = ["BadRego", "Rego", "object_by", "read_rego"]

_QUERY = "data.penstock.admission.deny"
_MAX_OBJECTIONS = 32


class BadRego(ValueError):
    """The rules cannot be used; the message says why."""


class _Output(Protocol):
    @property
    def results(self) -> Sequence[object]: ...


class _Interpreter(Protocol):
    strict_built_in_errors: bool

    def add_module(self, name: str, text: str) -> None: ...
    def set_input(self, value: object) -> None: ...
    def query(self, text: str) -> _Output: ...


@dataclass(frozen=True, slots=True)
class Rego:
    """Rules that were read once; children inherit them."""

    text: str
    interpreter: _Interpreter


def read_rego(text: str) -> Rego:
    """Read rules of the package `penstock.admission`. Raises BadRego."""
    try:
        import regopy
    except ImportError:
        raise BadRego("rules in Rego need the extra `rego` of this plugin: `extras: [rego]`") from None
    interpreter: _Interpreter = regopy.Interpreter()
    interpreter.strict_built_in_errors = True  # else a rule whose function fails would object to nothing
    try:
        interpreter.add_module("admission", text)
    except regopy.RegoError as error:
        raise BadRego(f"not Rego: {error}") from error
    return Rego(text, interpreter)


def object_by(rego: Rego, about: Mapping[str, Json]) -> Outcome:
    """Ask the rules about one appraisal. What they deny is a reason; what they cannot say is an error."""
    findings = Findings()
    findings.run("rego", "policy", _ask, rego, about)
    return findings.outcome()


def _ask(findings: Findings, path: str, rego: Rego, about: Mapping[str, Json]) -> None:
    try:
        answer = run_apart(lambda: _asked(rego, about), VERIFYING)
    except Died as death:
        answer = {"failed": str(death)}
    _note(findings, path, answer)


def _asked(rego: Rego, about: Mapping[str, Json]) -> dict[str, Json]:
    rego.interpreter.set_input(dict(about))
    results = rego.interpreter.query(_QUERY).results
    if len(results) != 1:
        return {"failed": "no single answer"}
    (said,) = results[0].expressions  # type: ignore[attr-defined]
    if not isinstance(said, list | set | tuple) or not all(isinstance(one, str) for one in said):
        return {"failed": "deny is no set of texts"}
    return {"denied": sorted(said)[:_MAX_OBJECTIONS]}


def _note(findings: Findings, path: str, answer: Mapping[str, Json]) -> None:
    denied = answer.get("denied")
    if not isinstance(denied, list):
        findings.against("A-REGO-ERROR", path, "a set of objections, empty or not", answer.get("failed", ""))
        return
    for text in denied:
        findings.against("A-REGO-DENY", path, "no objection", text)
