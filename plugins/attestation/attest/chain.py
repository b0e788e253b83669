"""Whether a chain that a server presented leads to a trust anchor, and what speaks against it if not.

Ways to an anchor are searched and walked until one has nothing against it; else the best of them says why not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attest.certificates import Certificate, Refused, parse
from attest.limits import MAX_CERTIFICATES
from attest.path import Signatures, walk
from attest.revocation import NO_COLLATERAL, Collateral, Statuses
from attest.rules import Revocation, Rules
from attest.search import Anchors, Search
from attest.verdict import UNAUTHENTICATED, Findings, Outcome, Result

__all__ = ["verify_chain"]


def verify_chain(
    presented: Sequence[bytes], anchors: Anchors, rules: Rules, at: datetime, collateral: Collateral = NO_COLLATERAL
) -> Outcome:
    """Verify the certificates that a server presented, its own first, in DER."""
    findings = Findings()
    certificates = _parsed(findings, presented)
    if certificates is None:
        return findings.outcome()
    search = Search(certificates, anchors)
    signatures = Signatures()
    best: tuple[int, int, Findings] | None = None
    for path in search.ways(signatures):
        trial = Findings()
        is_whole = walk(trial, path, rules, at, signatures)
        if rules.revocation is not Revocation.OFF:
            _revocation(trial, path, is_whole, rules, at, Statuses(collateral, anchors, signatures))
        if trial.clean:
            return trial.outcome(**_claims(path, anchors))
        outcome = trial.outcome()
        unauthenticated = sum(1 for check in outcome.checks if check.result is Result.SKIP)
        if best is None or (unauthenticated, len(outcome.reasons)) < best[:2]:
            best = (unauthenticated, len(outcome.reasons), trial)
    if best is None:
        search.lost(findings)
        return findings.outcome()
    return best[2].outcome()


def _parsed(findings: Findings, presented: Sequence[bytes]) -> list[Certificate] | None:
    """Take every certificate apart, or note why that cannot be."""
    if not 0 < len(presented) <= MAX_CERTIFICATES:
        code = "C-SIZE" if presented else "C-PARSE"
        findings.against(code, "presented", f"1 to {MAX_CERTIFICATES} certificates", len(presented))
        return None
    certificates = []
    for place, der in enumerate(presented):
        try:
            certificates.append(parse(der))
        except Refused as refused:
            findings.against(refused.code, f"presented[{place}]", "a certificate", refused)
    return certificates if findings.clean else None


def _revocation(
    findings: Findings, path: Sequence[Certificate], is_whole: bool, rules: Rules, at: datetime, statuses: Statuses
) -> None:
    for place in range(len(path) - 2, -1, -1):
        name = f"chain[{place}]"
        if is_whole:
            statuses.judge(findings, name, path, place, rules, at)
        else:
            findings.skip("revocation", name, UNAUTHENTICATED)


def _claims(path: Sequence[Certificate], anchors: Anchors) -> dict[str, object]:
    leaf = path[0]
    return {
        "spki": leaf.spki_digest,
        "certificate": leaf.digest,
        "names": tuple(str(name.value) for name in leaf.names),
        "anchor": path[-1].digest,
        "anchors": anchors.digest,
        "valid_until": min(one.not_after for one in path),
    }
