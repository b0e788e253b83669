"""From what was found about a server to one verdict, by the operator's policy, and the attestation result of it.

The result has the form of EAR (draft-ietf-rats-ear) with the trust vector of AR4SI. It is not signed here: no private
key is ever in the plugin; the host signs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from attest.drift import Known, judge_drift, known_by
from attest.evidence import KINDS
from attest.policy import Policy, Rule
from attest.results import StageResult
from attest.spiffe import BadSpiffeId, SpiffeId, read_id
from attest.urls import Url
from attest.verdict import UNAUTHENTICATED, Check, Findings, Outcome, Verdict, together

__all__ = ["FRESH", "Appraisal", "appraise", "trust_vector"]

FRESH = timedelta(seconds=60)
"""How old a result of an earlier stage may be: stages of one run follow within seconds."""

_PROFILE = "tag:github.com,2023:veraison/ear"
_DEVELOPER, _BUILD = "penstock", "attestation 1"

_AFFIRMING, _UNTRUSTWORTHY, _UNRECOGNISED, _CRYPTO_FAILED, _MALFUNCTION, _NO_CLAIM = 2, 96, 97, 99, -1, 0
"""AR4SI section 2.3.3 and 2.3.4."""

_BROKEN_SIGNATURES = frozenset({"X-SIG", "X-SIGALG-MISMATCH", "J-SIG", "C-BINDING"})
_STRANGERS = frozenset({"X-ANCHOR-UNKNOWN", "X-NO-PATH", "S-TD-NO-BUNDLE", "S-TD-BUNDLE-MISMATCH", "J-KID-UNKNOWN"})
_STATUS = {Verdict.ADMIT: "affirming", Verdict.DENY: "contraindicated", Verdict.ERROR: "none"}


@dataclass(frozen=True, slots=True)
class Appraisal:
    """The verdict about one server and what it rests on. `rule` is None where no rule is for the server."""

    server: str
    rule: Rule | None
    outcome: Outcome
    policy: bytes
    at: datetime
    checks: tuple[Check, ...] = ()
    """Those of the appraisal itself, which stand in the outcome beside those of the stages."""

    def joined(self, found: Outcome) -> Appraisal:
        """Return it with what else was found on the way to the decision."""
        return replace(self, outcome=together([self.outcome, found]), checks=self.checks + found.checks)

    def ear(self, nonce: str | None = None) -> dict[str, object]:
        """Return the attestation result, unsigned."""
        submodule = {
            "ear.status": _STATUS[self.outcome.verdict],
            "ear.trustworthiness-vector": trust_vector(self.outcome),
            "ear.appraisal-policy-id": f"sha256:{self.policy.hex()}",
            "ear.penstock.codes": sorted(self.outcome.codes),
            "ear.penstock.rule": self.rule.name if self.rule else "",
        }
        result: dict[str, object] = {
            "eat_profile": _PROFILE,
            "iat": int(self.at.timestamp()),
            "ear.verifier-id": {"developer": _DEVELOPER, "build": _BUILD},
            "submods": {self.server: submodule},
        }
        return result if nonce is None else {**result, "eat_nonce": nonce}


def appraise(
    policy: Policy,
    url: Url,
    results: Sequence[StageResult],
    at: datetime,
    before: Known | None = None,
    approved: Collection[str] = (),
) -> Appraisal:
    """Hold the results of earlier stages to the rule for this server, and to what it showed when last admitted.

    `approved` holds the digests of what an operator approved it to have become.
    """
    findings = Findings()
    identity = _identity_of(results)
    rule = policy.rule_for(url, identity)
    if rule is None and policy.has_identity_rules and any(_is_refused(one) for one in results):
        findings.skip("rule", "policy", "no identity was verified")
    else:
        findings.run("rule", "policy", _has_rule, rule, url)
    mine = [one for one in results if findings.run("result", one.kind, _is_mine, one, policy, url, at)]
    of_identity = [one for one in mine if one.kind == "identity"]
    findings.run("identity", "results", _has_identity, of_identity, rule)
    if rule is not None:
        if any(_is_refused(one) for one in of_identity):
            # Nobody is asked for evidence whose identity did not hold; where that may pass, they are asked then.
            findings.skip("evidence", "results", UNAUTHENTICATED)
        else:
            findings.run("evidence", "results", _has_evidence, rule, mine)
        judge_drift(findings, before, known_by(mine), rule.drift, approved)
    outcome = together([findings.outcome(), *(one.outcome for one in mine)])
    return Appraisal(str(url), rule, outcome, policy.digest, at, findings.outcome().checks)


def _identity_of(results: Sequence[StageResult]) -> SpiffeId | None:
    """Return the verified identity, where there is one: a claim survives only where nothing speaks against it."""
    for one in results:
        claimed = one.outcome.claims.get("spiffe_id")
        if one.kind == "identity" and one.pop and one.outcome.verdict is Verdict.ADMIT and isinstance(claimed, str):
            try:
                return read_id(claimed)
            except BadSpiffeId:
                return None
    return None


def _is_refused(result: StageResult) -> bool:
    """Whether a stage has reasons of its own, which then say what is wrong."""
    return result.outcome.verdict is not Verdict.ADMIT


def _has_rule(findings: Findings, path: str, rule: Rule | None, url: Url) -> None:
    if rule is None:
        findings.against("A-NO-RULE", path, "a rule for the server", url)


def _is_mine(findings: Findings, path: str, result: StageResult, policy: Policy, url: Url, at: datetime) -> None:
    """The result is about this server, under this policy, of this moment."""
    if result.server != str(url):
        findings.against("A-RESULT-OTHER", path, url, result.server)
    if result.policy != policy.digest.hex():
        findings.against("A-RESULT-POLICY", path, policy.digest.hex(), result.policy)
    if not timedelta(0) <= at - result.at <= FRESH:
        findings.against("A-RESULT-STALE", path, f"within {FRESH} of {at.isoformat()}", result.at.isoformat())


def _has_identity(findings: Findings, path: str, results: Sequence[StageResult], rule: Rule | None) -> None:
    if not results:
        findings.against("A-IDENTITY-MISSING", path, "the result of the identity stage", "none")
    for one in results:
        # A chain that was shown without a handshake, whatever else is wrong with it; who showed none has other reasons.
        if not one.pop and (one.judged or not _is_refused(one)):
            findings.against("M-POP", path, "a handshake in which the server used its key", "a chain handed over")
        admitted_under = one.outcome.claims.get("rule")
        if rule is not None and one.outcome.verdict is Verdict.ADMIT and admitted_under != rule.name:
            findings.against("A-RESULT-RULE", path, rule.name, admitted_under)


def _has_evidence(findings: Findings, path: str, rule: Rule, results: Sequence[StageResult]) -> None:
    shown = {one.kind for one in results if one.kind in KINDS}
    if any(one.kind == "evidence" for one in results):
        return  # it was asked for, and why it did not come is a reason of its own
    for kind in rule.evidence.require if rule.evidence else ():
        if kind not in shown:
            findings.against("C-KIND-MISSING", path, kind, ", ".join(sorted(shown)) or "none")


def trust_vector(outcome: Outcome) -> dict[str, int]:
    """Return the claims of AR4SI that are made: what nobody looked at has none, and none affirms by default."""
    return {"instance-identity": _instance_identity(outcome)}


def _instance_identity(outcome: Outcome) -> int:
    if outcome.verdict is Verdict.ADMIT:
        return _AFFIRMING
    if outcome.verdict is Verdict.ERROR:
        return _NO_CLAIM if outcome.retryable else _MALFUNCTION
    if outcome.codes & _BROKEN_SIGNATURES:
        return _CRYPTO_FAILED
    return _UNRECOGNISED if outcome.codes & _STRANGERS else _UNTRUSTWORTHY
