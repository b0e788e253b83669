"""The server's own certificate: whose it is, what for, and whether its key is the one that was pinned."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from attest.certificates import Certificate
from attest.hostnames import covers_public_suffix, is_allowed, matches
from attest.rules import Demand, Peer, Rules
from attest.verdict import Findings

__all__ = ["authority_purpose", "identity", "purpose", "usage"]


def usage(findings: Findings, path: str, certificate: Certificate, rules: Rules) -> None:
    """It is no authority's, and may sign a handshake."""
    if Demand.LEAF_NOT_AUTHORITY in rules.demands and certificate.is_authority:
        findings.against("X-LEAF-IS-CA", path, "a certificate that is no authority's", "cA")
    found = certificate.key_usage
    if Demand.LEAF_SIGNS in rules.demands and found is not None and not found.digital_signature:
        findings.against("X-KU-DIGSIG", path, "digitalSignature", "not set")


def purpose(findings: Findings, path: str, certificate: Certificate, rules: Rules) -> None:
    """Its extended key usage holds what it is used for."""
    wanted = rules.purpose.oid
    found = certificate.extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    if found is None or not isinstance(found.value, x509.ExtendedKeyUsage):
        if Demand.EKU in rules.demands:
            findings.against("X-EKU-MISSING", path, rules.purpose.name.lower(), "no extended key usage")
        return
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in found.value:
        if Demand.NO_ANY_EKU in rules.demands:
            findings.against("X-EKU-ANY", path, rules.purpose.name.lower(), "any")
    elif wanted is not None and wanted not in found.value:
        findings.against("X-EKU-WRONG", path, rules.purpose.name.lower(), _purposes(found.value))


def authority_purpose(findings: Findings, path: str, certificate: Certificate, rules: Rules) -> None:
    """An authority with an extended key usage issues for these purposes alone."""
    wanted = rules.purpose.oid
    found = certificate.extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    if wanted is None or found is None or not isinstance(found.value, x509.ExtendedKeyUsage):
        return
    if wanted not in found.value and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in found.value:
        findings.against("X-EKU-WRONG", path, rules.purpose.name.lower(), _purposes(found.value))


def _purposes(value: x509.ExtendedKeyUsage) -> str:
    return ", ".join(oid.dotted_string for oid in list(value)[:8])


def identity(findings: Findings, path: str, certificate: Certificate, rules: Rules) -> None:
    """It names the peer, is allowed to, and has the key that was pinned."""
    if Demand.SAN in rules.demands and not certificate.names and not certificate.faults:
        findings.against("X-SAN-MISSING", path, "alternative names", "none")
    elif rules.peers and not any(_names(certificate, peer) for peer in rules.peers):
        findings.against("X-SAN-MISMATCH", path, ", ".join(map(str, rules.peers)), _shown(certificate))
    if Demand.COMMON_NAME_IN_SAN in rules.demands:
        _common_names(findings, path, certificate)
    if Demand.NO_PUBLIC_SUFFIX in rules.demands:
        for name in certificate.names:
            if isinstance(name, x509.DNSName) and covers_public_suffix(name.value):
                findings.against("X-PUBLIC-SUFFIX", path, "a wildcard below a registered domain", name.value)
    if rules.allowed_names:
        _allowed(findings, path, certificate, rules)
    if rules.pins and certificate.spki_digest not in rules.pins:
        findings.against("X-SPKI-PIN", path, "a pinned key", certificate.spki_digest)


def _names(certificate: Certificate, peer: Peer) -> bool:
    for name in certificate.names:
        match name:
            case x509.DNSName(value=text) if isinstance(peer, str) and matches(text, peer):
                return True
            case x509.RFC822Name(value=text) if isinstance(peer, str) and "@" in peer and text == peer:
                return True
            case x509.IPAddress(value=value) if value == peer:
                return True
            case _:
                pass
    return False


def _shown(certificate: Certificate) -> str:
    return ", ".join(str(name.value) for name in certificate.names[:8]) or "none"


def _common_names(findings: Findings, path: str, certificate: Certificate) -> None:
    """CA/Browser Forum 7.1.4.3: letter by letter one of the alternative names."""
    texts = {str(name.value) for name in certificate.names if isinstance(name, x509.DNSName | x509.IPAddress)}
    for attribute in certificate.view.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        if attribute.value not in texts:
            findings.against("X-CN-NOT-IN-SAN", path, _shown(certificate), attribute.value)


def _allowed(findings: Findings, path: str, certificate: Certificate, rules: Rules) -> None:
    """The names judged are those that were asked for, or all that are presented where none was."""
    presented = [str(n.value) for n in certificate.names if isinstance(n, x509.DNSName | x509.IPAddress)]
    judged = [str(peer) for peer in rules.peers] or presented
    strangers = [name for name in judged if not any(is_allowed(name, pattern) for pattern in rules.allowed_names)]
    if strangers or not judged:
        findings.against("X-SAN-NOT-ALLOWED", path, ", ".join(rules.allowed_names), ", ".join(strangers) or "no name")
