"""The form of one certificate, wherever it stands in a path: what RFC 5280 section 4 and the profiles demand of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, lru_cache

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, ObjectIdentifier

from attest.certificates import Certificate
from attest.constraints import address_of, host_of, is_mailbox, well_formed
from attest.hostnames import has_wildcard, is_dns_name, wildcard_is_alone
from attest.keys import PublicKey
from attest.limits import MAX_NAMES, MAX_POLICIES
from attest.policies import policy_mappings
from attest.rules import Demand, Rules
from attest.verdict import Findings, Reason

__all__ = ["extensions", "form", "key_strength", "names", "validity"]

_MAPPINGS = ObjectIdentifier("2.5.29.33")
_SERIAL_BITS = 160
_REMEMBERED = 512
"""Certificates whose form is remembered: as many as are remembered as parsed."""

_KNOWN = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.TLS_FEATURE,
        _MAPPINGS,
    }
)
"""Extensions that are acted upon here, so that they may be critical."""

_MUST_BE_CRITICAL: Mapping[ObjectIdentifier, bool] = {
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS: False,
    ExtensionOID.FRESHEST_CRL: False,
    ExtensionOID.POLICY_CONSTRAINTS: True,
    ExtensionOID.INHIBIT_ANY_POLICY: True,
}
"""RFC 5280 section 4.2, where it says MUST for every certificate."""


def validity(findings: Findings, path: str, certificate: Certificate, at: datetime) -> None:
    """Both ends are included (RFC 5280 section 4.1.2.5)."""
    if at < certificate.not_before:
        findings.against("X-NOT-YET-VALID", path, f"at or after {certificate.not_before.isoformat()}", at.isoformat())
    elif at > certificate.not_after:
        findings.against("X-EXPIRED", path, f"at or before {certificate.not_after.isoformat()}", at.isoformat())


def key_strength(findings: Findings, path: str, key: PublicKey | None, rules: Rules) -> None:
    """Hold the public key to the rules."""
    complaint = rules.strength.complaint(key)
    if complaint is not None:
        findings.against("X-KEY-WEAK", path, "a key that the rules take", complaint)


def extensions(findings: Findings, path: str, certificate: Certificate) -> None:
    """All can be read, and the critical ones are known."""
    _tell(findings, path, _of_extensions(certificate))


@lru_cache(maxsize=_REMEMBERED)
def _of_extensions(certificate: Certificate) -> tuple[Reason, ...]:
    found = Findings()
    _extensions(found, "", certificate)
    return found.reasons


def _tell(findings: Findings, path: str, reasons: tuple[Reason, ...]) -> None:
    """Say at one place of a path what was found of a certificate, wherever it stands."""
    for one in reasons:
        findings.against(one.code, path, one.expected, one.actual)


def _extensions(findings: Findings, path: str, certificate: Certificate) -> None:
    for code, text in certificate.faults:
        findings.against(code, path, "extensions as RFC 5280 has them", text)
    for oid in certificate.critical:
        if oid not in _KNOWN:
            findings.against("X-CRIT-UNKNOWN", path, "critical extensions that are known", oid.dotted_string)
    if len(certificate.names) > MAX_NAMES:
        findings.against("C-SIZE", path, f"{MAX_NAMES} names", len(certificate.names))
    if policy_mappings(certificate) is None:
        findings.against("X-EXT-MALFORMED", path, "policy mappings", "something else")
    policies = certificate.extensions.get(ExtensionOID.CERTIFICATE_POLICIES)
    if (
        policies is not None
        and isinstance(policies.value, x509.CertificatePolicies)
        and len(policies.value) > MAX_POLICIES
    ):
        findings.against("C-SIZE", path, f"{MAX_POLICIES} policies", len(policies.value))
    well_formed(findings, path, certificate)


def form(findings: Findings, path: str, certificate: Certificate, demands: frozenset[Demand]) -> None:
    """Everything that a profile demands of any certificate."""
    _tell(findings, path, _of_form(certificate, demands))


@lru_cache(maxsize=_REMEMBERED)
def _of_form(certificate: Certificate, demands: frozenset[Demand]) -> tuple[Reason, ...]:
    found = Findings()
    _form(found, "", certificate, demands)
    return found.reasons


def _form(findings: Findings, path: str, certificate: Certificate, demands: frozenset[Demand]) -> None:
    if not certificate.algorithms_agree:
        findings.against("X-SIGALG-MISMATCH", path, "one algorithm", "two")
    for check in _checks_of(demands):
        check(findings, path, certificate)


@cache
def _checks_of(demands: frozenset[Demand]) -> tuple[Callable[[Findings, str, Certificate], None], ...]:
    return tuple(check for demand, check in _CHECKS.items() if demand in demands)


def _version(findings: Findings, path: str, certificate: Certificate) -> None:
    if not certificate.is_v3:
        findings.against("X-VERSION", path, "version 3", certificate.view.version.name)


def _serial(findings: Findings, path: str, certificate: Certificate) -> None:
    # 20 bytes of DER: the first bit of a positive number is 0.
    if certificate.serial <= 0 or certificate.serial.bit_length() >= _SERIAL_BITS:
        findings.against("X-SERIAL", path, "positive, at most 20 bytes", f"{certificate.serial.bit_length()} bits")


def _identifiers(findings: Findings, path: str, certificate: Certificate) -> None:
    authority = certificate.extensions.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    value = authority.value if authority else None
    has_identifier = isinstance(value, x509.AuthorityKeyIdentifier) and value.key_identifier is not None
    if not has_identifier and not (authority is None and certificate.self_issued):
        findings.against("X-AKI", path, "a key identifier", "none")
    if certificate.is_authority and ExtensionOID.SUBJECT_KEY_IDENTIFIER not in certificate.extensions:
        findings.against("X-SKI", path, "a key identifier", "none")


def _plain_identifiers(findings: Findings, path: str, certificate: Certificate) -> None:
    """CA/Browser Forum 7.1.2.1.3: no issuer and serial number, and a root's own identifier if any."""
    authority = certificate.extensions.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    if authority is None or not isinstance(authority.value, x509.AuthorityKeyIdentifier):
        return
    if authority.value.authority_cert_issuer is not None or authority.value.authority_cert_serial_number is not None:
        findings.against("X-AKI", path, "a key identifier alone", "issuer and serial number")
    own = certificate.extensions.get(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    is_own = own and isinstance(own.value, x509.SubjectKeyIdentifier) and own.value.digest
    if certificate.self_issued and certificate.is_authority and authority.value.key_identifier != is_own:
        findings.against("X-AKI", path, "the certificate's own key identifier", "another")


def _criticality(findings: Findings, path: str, certificate: Certificate) -> None:
    for oid, must in _MUST_BE_CRITICAL.items():
        found = certificate.extensions.get(oid)
        if found is not None and found.critical is not must:
            _wrong_criticality(findings, path, oid, must=must)
    basic = certificate.extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
    if basic is not None and certificate.is_authority and not basic.critical:
        _wrong_criticality(findings, path, basic.oid, must=True)
    alternative = certificate.extensions.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    if alternative is not None and not certificate.subject and not alternative.critical:
        _wrong_criticality(findings, path, alternative.oid, must=True)


def _critical_constraints(findings: Findings, path: str, certificate: Certificate) -> None:
    found = certificate.extensions.get(ExtensionOID.NAME_CONSTRAINTS)
    if found is not None and not found.critical:
        _wrong_criticality(findings, path, found.oid, must=True)


def _eku_not_critical(findings: Findings, path: str, certificate: Certificate) -> None:
    found = certificate.extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    if found is not None and found.critical and not certificate.is_authority:
        _wrong_criticality(findings, path, found.oid, must=False)


def _wrong_criticality(findings: Findings, path: str, oid: ObjectIdentifier, *, must: bool) -> None:
    words = ("not critical", "critical")
    findings.against("X-CRITICALITY", path, f"{oid.dotted_string} {words[must]}", words[not must])


def _names_not_empty(findings: Findings, path: str, certificate: Certificate) -> None:
    if not certificate.issuer:
        findings.against("X-NAME-EMPTY", path, "an issuer", "an empty name")
    if certificate.is_authority and not certificate.subject:
        findings.against("X-NAME-EMPTY", path, "a subject", "an empty name")
    found = certificate.extensions.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    if not certificate.subject and found is None and not certificate.is_authority:
        findings.against("X-SAN-MISSING", path, "an alternative name where the subject is empty", "none")


def _constraints_on_authorities(findings: Findings, path: str, certificate: Certificate) -> None:
    if ExtensionOID.NAME_CONSTRAINTS in certificate.extensions and not certificate.is_authority:
        findings.against("X-NC-ON-LEAF", path, "name constraints on authorities alone", "on another")


def _certsign_on_authorities(findings: Findings, path: str, certificate: Certificate) -> None:
    usage = certificate.key_usage
    if usage is not None and usage.key_cert_sign and not certificate.is_authority:
        findings.against("X-KU-NOT-CA", path, "keyCertSign on authorities alone", "on another")


def names(findings: Findings, path: str, certificate: Certificate) -> None:
    """Each alternative name is one of its kind."""
    for name in certificate.names:
        match name:
            case x509.DNSName(value=text):
                if has_wildcard(text) and not wildcard_is_alone(text):
                    findings.against("X-WILDCARD", path, "a wildcard as the whole first label", text)
                elif not is_dns_name(text):
                    findings.against("X-SAN-MALFORMED", path, "a DNS name", text)
            case x509.RFC822Name(value=text):
                if not is_mailbox(text):
                    findings.against("X-SAN-MALFORMED", path, "a mailbox", text)
            case x509.IPAddress(value=value):
                if address_of(value) is None:
                    findings.against("X-SAN-MALFORMED", path, "an address", value)
            case x509.UniformResourceIdentifier(value=text):
                if not text.partition(":")[0].isascii() or ":" not in text or ("://" in text and host_of(text) == ""):
                    findings.against("X-SAN-MALFORMED", path, "a URI", text)
            case _:
                pass


_CHECKS = {
    Demand.VERSION_3: _version,
    Demand.SERIAL: _serial,
    Demand.KEY_IDENTIFIERS: _identifiers,
    Demand.PLAIN_KEY_IDENTIFIERS: _plain_identifiers,
    Demand.CRITICALITY: _criticality,
    Demand.CRITICAL_CONSTRAINTS: _critical_constraints,
    Demand.EKU_NOT_CRITICAL: _eku_not_critical,
    Demand.NAMES_NOT_EMPTY: _names_not_empty,
    Demand.CONSTRAINTS_ON_AUTHORITIES_ONLY: _constraints_on_authorities,
    Demand.CERTSIGN_ON_AUTHORITIES_ONLY: _certsign_on_authorities,
    Demand.WELL_FORMED_NAMES: names,
}
