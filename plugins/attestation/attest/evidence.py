"""Evidence of every kind that can be verified here, each by its own verifier, all bound to one challenge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from attest.binding import audience
from attest.bundles import Bundle
from attest.jwtsvid import TokenRules, verify_jwt_svid
from attest.messages import Evidence
from attest.verdict import Findings, Outcome, Reason

__all__ = ["KINDS", "EvidenceRules", "verify_evidence"]


@dataclass(frozen=True, slots=True)
class EvidenceRules:
    """What the operator takes as evidence, and whom it may speak for."""

    kinds: frozenset[str]
    bundles: Mapping[str, Bundle]
    allowed: tuple[str, ...] = ()


def verify_evidence(evidence: Evidence, binding: bytes, rules: EvidenceRules, at: datetime) -> Outcome:
    """Verify evidence of a kind that the operator asked for; `binding` is that of the challenge it answers."""
    verifier = KINDS.get(evidence.kind)
    if verifier is None or evidence.kind not in rules.kinds:
        findings = Findings()
        findings.against("C-KIND-NOT-ALLOWED", "evidence.kind", ", ".join(sorted(rules.kinds)), evidence.kind)
        return findings.outcome()
    return verifier(evidence, binding, rules, at)


def _jwt_svid(evidence: Evidence, binding: bytes, rules: EvidenceRules, at: datetime) -> Outcome:
    """A token whose audience is the binding: whoever issued it for that audience saw this very challenge."""
    if evidence.endorsements:
        findings = Findings()
        findings.against("C-PARSE", "evidence.endorsements", "none beside a token", len(evidence.endorsements))
        return findings.outcome()
    wanted = audience(binding)
    outcome = verify_jwt_svid(evidence.evidence, rules.bundles, TokenRules(frozenset({wanted}), rules.allowed), at)
    reasons = tuple(_as_binding(reason) for reason in outcome.reasons)
    return replace(outcome, reasons=reasons)


def _as_binding(reason: Reason) -> Reason:
    return replace(reason, code="C-BINDING") if reason.code == "J-AUD" else reason


_Verifier = Callable[[Evidence, bytes, EvidenceRules, datetime], Outcome]

KINDS: Mapping[str, _Verifier] = MappingProxyType({"jwt-svid": _jwt_svid})
