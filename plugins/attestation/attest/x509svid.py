"""X.509-SVIDs: a certificate path within one trust domain whose end is exactly one SPIFFE ID (X509-SVID section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from attest.bundles import Bundle
from attest.certificates import Certificate, Refused, parse
from attest.chain import verify_chain
from attest.revocation import NO_COLLATERAL, Collateral
from attest.rules import Demand, Purpose, Rules
from attest.spiffe import BadSpiffeId, SpiffeId, is_allowed, read_id
from attest.verdict import UNAUTHENTICATED, Findings, Outcome, Result

__all__ = ["SVID_RULES", "SvidRules", "claimed_id", "verify_x509_svid"]

SVID_RULES = Rules(frozenset({Demand.VERSION_3, Demand.SERIAL, Demand.NAMES_NOT_EMPTY}), purpose=Purpose.ANY)
"""What the document asks of every certificate is asked here; its own profile says the rest."""

_CHECKS = ("spiffe-id", "spiffe-usage", "spiffe-allowed")


@dataclass(frozen=True, slots=True)
class SvidRules:
    """What an identity is held to. `allowed` holds IDs, or paths that end in `/*`; empty allows none."""

    allowed: tuple[str, ...]
    path: Rules = SVID_RULES


def verify_x509_svid(
    presented: Sequence[bytes],
    bundles: Mapping[str, Bundle],
    rules: SvidRules,
    at: datetime,
    collateral: Collateral = NO_COLLATERAL,
) -> Outcome:
    """Verify a chain against the authorities of the trust domain that its leaf names, and no others."""
    findings = Findings()
    identity = _domain_of(findings, presented)
    if identity is None:
        return findings.outcome()
    bundle = bundles.get(identity.trust_domain)
    if bundle is not None and bundle.refused:
        findings.against(bundle.refused, "bundle", "a bundle as new as one seen before", f"sequence {bundle.sequence}")
        return findings.outcome()
    if bundle is None or not bundle.anchors.certificates:
        code = "S-TD-NO-BUNDLE" if bundle is None else "S-BUNDLE-EMPTY"
        findings.against(code, "presented[0]", "authorities of the trust domain", identity.trust_domain)
        return findings.outcome()
    outcome = verify_chain(presented, bundle.anchors, rules.path, at, collateral)
    if outcome.codes == {"X-ANCHOR-UNKNOWN"} and _is_of_another(presented, bundles, bundle, rules, at):
        findings.against("S-TD-BUNDLE-MISMATCH", "chain", f"an authority of {bundle.trust_domain}", "another's")
        return findings.outcome()
    findings.add(outcome)
    if not _is_authenticated(outcome):
        for check in _CHECKS:
            findings.skip(check, "chain[0]", UNAUTHENTICATED)
        return findings.outcome()
    leaf = parse(presented[0])
    findings.run("spiffe-id", "chain[0]", _id, identity)
    findings.run("spiffe-usage", "chain[0]", _usage, leaf)
    findings.run("spiffe-allowed", "chain[0]", _allowed, identity, rules)
    for place, der in enumerate(presented[1:], 1):
        findings.run("spiffe-id", f"presented[{place}]", _authority_id, parse(der))  # read before, by the path
    return findings.outcome(**outcome.claims, spiffe_id=str(identity), bundle=bundle.digest, sequence=bundle.sequence)


def claimed_id(leaf: bytes) -> SpiffeId | None:
    """Return the ID that a certificate claims, unverified: it may choose a rule, and is then held to it."""
    return _domain_of(Findings(), (leaf,))


def _is_authenticated(outcome: Outcome) -> bool:
    """Whether every signature from an authority down to the leaf was good: else a stranger wrote what is there."""
    passed = ("signature", "chain[0]", Result.PASS)
    return any(check[:3] == passed for check in outcome.checks)


def _domain_of(findings: Findings, presented: Sequence[bytes]) -> SpiffeId | None:
    """Read whose bundle to verify under: the one thing that must be read before a signature was seen."""
    try:
        leaf = parse(presented[0]) if presented else None
    except Refused as refused:
        findings.against(refused.code, "presented[0]", "a certificate", refused)
        return None
    names = _ids(leaf) if leaf else []
    if len(names) != 1:
        code = "S-URI-COUNT" if leaf else "C-PARSE"
        findings.against(code, "presented[0]", "exactly one URI", len(names))
        return None
    try:
        return read_id(names[0])
    except BadSpiffeId as error:
        findings.against(error.code, "presented[0]", "a SPIFFE ID", f"{names[0]}: {error}")
        return None


def _ids(certificate: Certificate) -> list[str]:
    return [name.value for name in certificate.names if isinstance(name, x509.UniformResourceIdentifier)]


def _is_of_another(
    presented: Sequence[bytes], bundles: Mapping[str, Bundle], own: Bundle, rules: SvidRules, at: datetime
) -> bool:
    plain = replace(rules.path, pins=frozenset())
    others = (bundle for bundle in bundles.values() if bundle is not own)
    return any("X-ANCHOR-UNKNOWN" not in verify_chain(presented, one.anchors, plain, at).codes for one in others)


def _id(findings: Findings, path: str, identity: SpiffeId) -> None:
    if not identity.path:
        findings.against("S-ROOT-PATH", path, "an ID with a path", identity)


def _authority_id(findings: Findings, path: str, certificate: Certificate) -> None:
    """Section 2: a signing certificate's ID, if it has one, is the trust domain's own."""
    for name in _ids(certificate):
        try:
            has_path = bool(read_id(name).path)
        except BadSpiffeId as error:
            findings.against(error.code, path, "a SPIFFE ID", f"{name}: {error}")
            continue
        if has_path:
            findings.against("S-ROOT-PATH", path, "an authority's ID without a path", name)


def _usage(findings: Findings, path: str, leaf: Certificate) -> None:
    """Section 5.2."""
    if leaf.is_authority:
        findings.against("S-LEAF-CA", path, "a certificate that is no authority's", "cA")
    extension, usage = leaf.extensions.get(ExtensionOID.KEY_USAGE), leaf.key_usage
    if extension is None or usage is None or not extension.critical:
        findings.against("S-KU-NOT-CRITICAL", path, "a critical key usage", "not critical" if usage else "none")
    if usage is not None:
        if not usage.digital_signature:
            findings.against("S-KU-DIGSIG", path, "digitalSignature", "not set")
        if usage.key_cert_sign:
            findings.against("S-KU-CERTSIGN", path, "no keyCertSign", "set")
        if usage.crl_sign:
            findings.against("S-KU-CRLSIGN", path, "no cRLSign", "set")
    purposes = leaf.extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    if purposes is not None and isinstance(purposes.value, x509.ExtendedKeyUsage):
        missing = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} - set(purposes.value)
        if missing:
            findings.against("S-EKU", path, "serverAuth and clientAuth", f"{len(missing)} of them missing")


def _allowed(findings: Findings, path: str, identity: SpiffeId, rules: SvidRules) -> None:
    if not is_allowed(identity, rules.allowed):
        findings.against("S-NOT-ALLOWED", path, ", ".join(rules.allowed) or "nobody", identity)
