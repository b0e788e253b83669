"""One certification path, from the anchor down to the server: RFC 5280 section 6.1, every check that can run.

A signature that does not verify ends what can be said: whatever stands below it was written by a stranger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.x509.oid import ExtensionOID

from attest.certificates import Certificate
from attest.constraints import NO_CONSTRAINTS
from attest.form import extensions, form, key_strength, validity
from attest.keys import PublicKey, Signed, affordable, verifies
from attest.leaf import authority_purpose, identity, purpose, usage
from attest.limits import MAX_SIGNATURES
from attest.policies import PolicyGraph
from attest.rules import Demand, Rules
from attest.verdict import UNAUTHENTICATED, Findings

__all__ = ["Signatures", "walk"]

_OF_CONTENT = ("form", "name-constraints", "policies")
_OF_LEAF = ("usage", "purpose", "identity")
_OF_AUTHORITY = ("authority",)
_OF_EVERY = ("issuer", "validity", "extensions", "strength", *_OF_CONTENT)


@dataclass(slots=True)
class Signatures:
    """Signatures verified during one verification: each once, and not more than a bound."""

    known: dict[tuple[bytes, bytes], bool] = field(default_factory=dict)
    left: int = MAX_SIGNATURES
    keys: dict[bytes, PublicKey | None] = field(default_factory=dict)
    """Public keys of certificates that were walked: one that inherits its parameters is known only there."""

    def key_of(self, certificate: Certificate) -> PublicKey | None:
        """Return the public key of a certificate."""
        return self.keys.get(certificate.der) or certificate.key()

    def verify(self, certificate: Certificate, key: PublicKey, spki: bytes) -> bool | None:
        """Whether `key` signed the certificate, or None if too many were verified before."""
        signed = certificate.signed
        return False if signed is None else self.verified((certificate.der, spki), key, signed)

    def verified(self, memo: tuple[bytes, bytes], key: PublicKey, signed: Signed) -> bool | None:
        """Whether `key` signed, remembered under `memo`, or None if too many were verified before."""
        if memo not in self.known:
            if self.left == 0:
                return None
            self.left -= 1
            self.known[memo] = affordable(key) and verifies(key, signed)
        return self.known[memo]


def walk(findings: Findings, path: Sequence[Certificate], rules: Rules, at: datetime, signatures: Signatures) -> bool:
    """Check a path, the server's certificate first and the anchor last, and say whether all of it is authenticated."""
    anchor = path[-1]
    key = anchor.key()
    _anchor(findings, anchor, key, rules, at)
    if path[0].der != anchor.der and anchor.is_v3 and Demand.ANCHOR not in rules.demands:
        # A server's own certificate may be trusted as it is; that lets it speak for itself and for nobody else.
        findings.run("authority", "anchor", _is_authority, anchor)
    count = len(path) - 1
    constraints = NO_CONSTRAINTS.below(anchor)
    policies = PolicyGraph(rules.policies, count)
    allowed = _path_length(anchor, count)
    if count - 1 > rules.max_depth:
        findings.against("X-DEPTH", "chain", f"{rules.max_depth} intermediates", count - 1)
    for place in range(count - 1, -1, -1):
        certificate, above, name, is_last = path[place], path[place + 1], f"chain[{place}]", place == 0
        if not findings.run("signature", name, _signature, certificate, above, key, rules, signatures):
            _skip(findings, place)
            return False
        key = signatures.keys[certificate.der] = certificate.key(key)
        findings.run("issuer", name, _issuer, certificate, above)
        findings.run("validity", name, validity, certificate, at)
        findings.run("extensions", name, extensions, certificate)
        findings.run("strength", name, key_strength, key, rules)
        if certificate.faults:
            for check in _OF_CONTENT + (_OF_LEAF if is_last else _OF_AUTHORITY):
                findings.skip(check, name, "unreadable extensions")
            continue
        findings.run("form", name, form, certificate, rules.demands)
        if is_last or not certificate.self_issued:
            findings.run("name-constraints", name, constraints.judge, certificate)
            constraints = constraints.after(certificate)
        findings.run("policies", name, policies.judge, certificate, is_last=is_last)
        if is_last:
            findings.run("usage", name, usage, certificate, rules)
            findings.run("purpose", name, purpose, certificate, rules)
            findings.run("identity", name, identity, certificate, rules)
        else:
            findings.run("authority", name, _authority, certificate, rules, allowed)
            constraints = constraints.below(certificate)
            if not certificate.self_issued:
                allowed = max(0, allowed - 1)
            allowed = _path_length(certificate, allowed)
    return True


def _skip(findings: Findings, place: int) -> None:
    for lower in range(place, -1, -1):
        for check in _OF_EVERY + (_OF_AUTHORITY if lower else _OF_LEAF):
            findings.skip(check, f"chain[{lower}]", UNAUTHENTICATED)
        if lower:
            findings.skip("signature", f"chain[{lower - 1}]", UNAUTHENTICATED)


def _anchor(findings: Findings, anchor: Certificate, key: PublicKey | None, rules: Rules, at: datetime) -> None:
    findings.run("validity", "anchor", validity, anchor, at)
    findings.run("extensions", "anchor", extensions, anchor)
    findings.run("strength", "anchor", key_strength, key, rules)
    if Demand.ANCHOR in rules.demands:
        findings.run("form", "anchor", form, anchor, rules.demands)
        findings.run("authority", "anchor", _anchor_authority, anchor, rules)


def _anchor_authority(findings: Findings, path: str, anchor: Certificate, rules: Rules) -> None:
    _is_authority(findings, path, anchor)
    if Demand.NO_ROOT_EKU in rules.demands and ExtensionOID.EXTENDED_KEY_USAGE in anchor.extensions:
        findings.against("X-EKU-ON-ROOT", path, "no extended key usage", "one")


def _signature(
    findings: Findings,
    path: str,
    certificate: Certificate,
    above: Certificate,
    key: PublicKey | None,
    rules: Rules,
    signatures: Signatures,
) -> None:
    signed = certificate.signed
    if signed is None or not rules.strength.takes_hash(signed.hash):
        actual = certificate.view.signature_algorithm_oid.dotted_string
        findings.against("X-ALG-WEAK", path, "a signature algorithm that the rules take", actual)
        return
    if key is None:
        findings.against("X-SIG", path, "an issuer's key that can be used", "none")
        return
    verified = signatures.verify(certificate, key, above.spki)
    if verified is None:
        findings.against("X-SEARCH-LIMIT", path, f"{MAX_SIGNATURES} signatures", "more")
    elif not verified:
        findings.against("X-SIG", path, "a signature by the issuer's key", "another")


def _issuer(findings: Findings, path: str, certificate: Certificate, above: Certificate) -> None:
    if certificate.issuer != above.subject:
        expected, actual = above.view.subject.rfc4514_string(), certificate.view.issuer.rfc4514_string()
        findings.against("X-ISSUER-NAME", path, expected, actual)


def _authority(findings: Findings, path: str, certificate: Certificate, rules: Rules, allowed: int) -> None:
    """Section 6.1.4 (k) to (n)."""
    _is_authority(findings, path, certificate)
    if not certificate.is_v3 and Demand.VERSION_3 not in rules.demands:
        findings.against("X-VERSION", path, "version 3", certificate.view.version.name)
    if allowed == 0 and not certificate.self_issued:
        findings.against("X-PATHLEN", path, "no further authority", "one")
    authority_purpose(findings, path, certificate, rules)


def _is_authority(findings: Findings, path: str, certificate: Certificate) -> None:
    if not certificate.is_authority and not certificate.faults:
        findings.against("X-CA-FLAG", path, "cA", "not set")
    usage_found = certificate.key_usage
    if usage_found is not None and not usage_found.key_cert_sign:
        findings.against("X-KU-CERTSIGN", path, "keyCertSign", "not set")


def _path_length(certificate: Certificate, allowed: int) -> int:
    constraints = certificate.basic_constraints
    if constraints is None or constraints.path_length is None:
        return allowed
    return min(allowed, constraints.path_length)
