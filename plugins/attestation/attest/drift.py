"""What changed about a server since it was last admitted, and what the policy makes of that."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import rfc8785

from attest.policy import Drift
from attest.results import StageResult
from attest.verdict import UNAUTHENTICATED, Findings

__all__ = ["Known", "judge_drift", "known_by"]


@dataclass(frozen=True, slots=True)
class Known:
    """What was known of a server when it was admitted. Empty where it had nothing of the kind."""

    spki: str
    spiffe_id: str
    anchor: str
    evidence: tuple[tuple[str, str], ...]
    """Each kind that was shown, and the identity that it speaks for."""

    @property
    def digest(self) -> str:
        """What an operator approves: exactly this, and nothing that comes after it."""
        members = {
            "spki": self.spki,
            "spiffe_id": self.spiffe_id,
            "anchor": self.anchor,
            "evidence": [[*one] for one in self.evidence],
        }
        return hashlib.sha256(rfc8785.dumps(members)).hexdigest()  # type: ignore[arg-type]  # texts


def known_by(results: Sequence[StageResult]) -> Known:
    """Return what the results of this run say; `evidence` is the kind of what was asked for and did not come."""
    claims = next((one.outcome.claims for one in results if one.kind == "identity"), {})
    shown = {one.kind: one.outcome.claims.get("spiffe_id") for one in results if one.kind != "identity"}
    evidence = sorted((kind, whom if isinstance(whom, str) else "") for kind, whom in shown.items())
    texts = [claims.get(name) for name in ("spki", "spiffe_id", "anchor")]
    spki, identity, anchor = (text if isinstance(text, str) else "" for text in texts)
    return Known(spki, identity, anchor, tuple(evidence))


def judge_drift(
    findings: Findings, before: Known | None, now: Known, drift: Drift, approved: Collection[str] = ()
) -> None:
    """Compare with the last admission. What is allowed or `approved` (by its digest) is a skipped check, by name."""
    if before is None:
        findings.skip("drift", "admission", "never admitted before")
        return
    if not now.spki:
        findings.skip("drift", "admission", UNAUTHENTICATED)
        return
    changes = _changes(before, now)
    is_approved = drift is Drift.APPROVE and now.digest in approved
    if changes and (drift is Drift.ALLOW or is_approved):
        word = "approved" if is_approved else "allowed"
        findings.skip("drift", "admission", f"{word}: {', '.join(code for code, _, _ in changes)}")
        return
    findings.run("drift", "admission", _note, changes, drift, now.digest)


def _changes(before: Known, now: Known) -> list[tuple[str, str, str]]:
    found = []
    if before.spki != now.spki:
        found.append(("D-KEY-CHANGED", before.spki, now.spki))
    if before.spiffe_id != now.spiffe_id:
        found.append(("D-IDENTITY-CHANGED", before.spiffe_id, now.spiffe_id))
    if before.anchor != now.anchor:
        found.append(("D-ANCHOR-CHANGED", before.anchor, now.anchor))
    shown, showed = dict(now.evidence), dict(before.evidence)
    if "evidence" in shown:
        return found  # it was asked for, and why it did not come is a reason of its own
    if showed.keys() - shown.keys():
        found.append(("D-EVIDENCE-WEAKER", ", ".join(showed), ", ".join(shown) or "none"))
    # What did not verify speaks for nobody, and has its reasons.
    others = [one for one in sorted(showed.keys() & shown.keys()) if shown[one] and shown[one] != showed[one]]
    found += [("D-EVIDENCE-CHANGED", f"{one} of {showed[one] or 'nobody'}", f"{one} of {shown[one]}") for one in others]
    return found


def _note(findings: Findings, path: str, changes: Sequence[tuple[str, str, str]], drift: Drift, digest: str) -> None:
    for code, expected, actual in changes:
        findings.against(code, path, expected or "none", actual or "none")
    if changes and drift is Drift.APPROVE:
        findings.against("D-APPROVAL", path, f"an operator's approval of {digest}", "none")
