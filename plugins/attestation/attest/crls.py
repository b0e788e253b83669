"""A revocation list as bytes taken apart once, and what its scope and entries say (RFC 5280 sections 5 and 6.3)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TypeAlias, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID, ObjectIdentifier

from attest.certificates import Certificate
from attest.der import BIT_STRING, SEQUENCE, inside
from attest.keys import Signed
from attest.limits import MAX_CRL_BYTES
from attest.names import Name, normalized

__all__ = ["ALL_REASONS", "Crl", "Point", "UnreadableCrl", "parse_crl", "points_of"]

ALL_REASONS = frozenset(flag for flag in x509.ReasonFlags) - {
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.remove_from_crl,
}

_KNOWN = frozenset(
    {
        ExtensionOID.CRL_NUMBER,
        ExtensionOID.DELTA_CRL_INDICATOR,
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }
)
_KNOWN_OF_ENTRIES = frozenset(
    {CRLEntryExtensionOID.CRL_REASON, CRLEntryExtensionOID.INVALIDITY_DATE, CRLEntryExtensionOID.CERTIFICATE_ISSUER}
)


V = TypeVar("V", bound=x509.ExtensionType)


class UnreadableCrl(Exception):
    """Bytes that are no revocation list."""


@dataclass(frozen=True, slots=True)
class Point:
    """A distribution point of a certificate, or the one implied where it names none."""

    names: tuple[x509.GeneralName, ...] = ()
    issuers: tuple[Name, ...] = ()
    reasons: frozenset[x509.ReasonFlags] = ALL_REASONS


@dataclass(frozen=True, slots=True, eq=False)
class Crl:
    """One list. `base` is the number that a delta list builds upon."""

    issuer: Name
    this_update: datetime
    next_update: datetime | None
    number: int | None
    number_is_critical: bool
    base: int | None
    scope: x509.IssuingDistributionPoint | None
    key_identifier: bytes | None
    reasons: frozenset[x509.ReasonFlags]
    """The reasons that the list is about."""
    has_unknown_critical: bool
    signed: Signed | None
    series: str
    """Whose numbers these are: they grow within one issuer's key and one scope (RFC 5280 section 5.2.3)."""
    entries: Mapping[tuple[Name, int], x509.ReasonFlags]
    """Why each certificate is on the list, by issuer and serial number, or by `()` and the number in a direct list.

    Made once: the library's own look-up goes through the whole list each time.
    """
    view: x509.CertificateRevocationList

    @property
    def is_indirect(self) -> bool:
        """Whether it may speak of certificates of other issuers."""
        return self.scope is not None and self.scope.indirect_crl

    def is_delta_of(self, complete: Crl) -> bool:
        """Section 6.3.3 (c): whether this list says what changed since `complete`."""
        if self.base is None or self.number is None or complete.number is None or self.issuer != complete.issuer:
            return False
        is_same_key = self.key_identifier == complete.key_identifier
        return self.scope == complete.scope and is_same_key and self.base <= complete.number <= self.number

    def covers(self, certificate: Certificate, point: Point) -> bool:
        """Section 6.3.3 (b): whether the list is one of this point, for this certificate."""
        if point.issuers:
            if self.issuer not in point.issuers or not self.is_indirect:
                return False
        elif self.issuer != certificate.issuer:
            return False
        scope = self.scope
        if scope is None:
            return True
        if scope.only_contains_attribute_certs or (scope.only_contains_user_certs and certificate.is_authority):
            return False
        if scope.only_contains_ca_certs and not certificate.is_authority:
            return False
        return self._is_at(point)

    def _is_at(self, point: Point) -> bool:
        own = _names_of(self.scope, self.view.issuer) if self.scope else ()
        if not own:
            return True
        wanted = {_comparable(name) for name in point.names} or {("directory", issuer) for issuer in point.issuers}
        return any(_comparable(name) in wanted for name in own)

    def entry(self, certificate: Certificate) -> x509.ReasonFlags | None:
        """Return why the certificate is on the list, or None."""
        return self.entries.get((certificate.issuer if self.is_indirect else (), certificate.serial))


@lru_cache(maxsize=128)
def parse_crl(der: bytes) -> Crl:
    """Take a list apart. Raises UnreadableCrl."""
    if len(der) > MAX_CRL_BYTES:
        raise UnreadableCrl(f"{len(der)} bytes")
    try:
        view = x509.load_der_x509_crl(der)
        extensions = {one.oid: one for one in view.extensions}
        number = extensions.get(ExtensionOID.CRL_NUMBER)
        delta = _value(extensions.get(ExtensionOID.DELTA_CRL_INDICATOR), x509.DeltaCRLIndicator)
        identifier = _value(extensions.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER), x509.AuthorityKeyIdentifier)
        counted = _value(number, x509.CRLNumber)
        scope = _value(extensions.get(ExtensionOID.ISSUING_DISTRIBUTION_POINT), x509.IssuingDistributionPoint)
        some = scope.only_some_reasons if scope else None
        issuer, key = normalized(view.issuer), identifier.key_identifier if identifier else None
        is_indirect = scope is not None and scope.indirect_crl
        entries, has_unknown = _entries(view, issuer, is_indirect=is_indirect)
        return Crl(
            issuer=issuer,
            this_update=view.last_update_utc,
            next_update=view.next_update_utc,
            number=counted.crl_number if counted else None,
            number_is_critical=number is not None and number.critical,
            base=delta.crl_number if delta else None,
            scope=scope,
            reasons=ALL_REASONS if some is None else frozenset(some) & ALL_REASONS,
            key_identifier=key,
            has_unknown_critical=has_unknown or _is_unknown(extensions.values(), _KNOWN),
            signed=_signed(der, view),
            series=_series(issuer, scope, key),
            entries=entries,
            view=view,
        )
    except (
        ValueError,
        TypeError,
        OverflowError,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise UnreadableCrl(str(error)) from error


@lru_cache(maxsize=512)
def points_of(certificate: Certificate) -> tuple[Point, ...]:
    """Return the certificate's distribution points, and last the one that its issuer's name implies."""
    return tuple(_points_of(certificate))


def _points_of(certificate: Certificate) -> Iterator[Point]:
    found = certificate.extensions.get(ExtensionOID.CRL_DISTRIBUTION_POINTS)
    if found is not None and isinstance(found.value, x509.CRLDistributionPoints):
        for point in found.value:
            issuers = tuple(
                normalized(one.value) for one in point.crl_issuer or () if isinstance(one, x509.DirectoryName)
            )
            base = next(
                (one.value for one in point.crl_issuer or () if isinstance(one, x509.DirectoryName)),
                certificate.view.issuer,
            )
            reasons = ALL_REASONS if point.reasons is None else frozenset(point.reasons) & ALL_REASONS
            yield Point(_names_of(point, base), issuers, reasons)
    yield Point((x509.DirectoryName(certificate.view.issuer),))


def _names_of(
    point: x509.DistributionPoint | x509.IssuingDistributionPoint, base: x509.Name
) -> tuple[x509.GeneralName, ...]:
    if point.full_name is not None:
        return tuple(point.full_name)
    if point.relative_name is not None:
        return (x509.DirectoryName(x509.Name([*base.rdns, point.relative_name])),)
    return ()


def _comparable(name: x509.GeneralName) -> tuple[str, object]:
    if isinstance(name, x509.DirectoryName):
        return "directory", normalized(name.value)
    return type(name).__name__, name.value


def _series(issuer: Name, scope: x509.IssuingDistributionPoint | None, key: bytes | None) -> str:
    parts = [sorted((kind, value if isinstance(value, str) else value.hex()) for kind, value in one) for one in issuer]
    said = [parts, scope.public_bytes().hex() if scope else "", key.hex() if key else ""]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _value(found: x509.Extension[x509.ExtensionType] | None, kind: type[V]) -> V | None:
    return found.value if found is not None and isinstance(found.value, kind) else None


def _is_unknown(found: Iterable[x509.Extension[x509.ExtensionType]], known: frozenset[ObjectIdentifier]) -> bool:
    """Whether there is a critical extension that is not known here."""
    return any(one.critical and one.oid not in known for one in found)


def _signed(der: bytes, view: x509.CertificateRevocationList) -> Signed | None:
    """Return what is signed, or None if the algorithm is not known or is named in two ways."""
    parts = inside(der)
    if [part[0] for part in parts] != [SEQUENCE, SEQUENCE, BIT_STRING] or der[parts[2][2]] != 0:
        return None
    fields = inside(der, parts[0][1], least=2)
    inner = fields[1] if fields[0][0] == 0x02 else fields[0]
    if der[inner[1] : inner[3]] != der[parts[1][1] : parts[1][3]]:
        return None
    try:
        return Signed(
            view.tbs_certlist_bytes,
            view.signature,
            view.signature_hash_algorithm,
            view.signature_algorithm_parameters,
        )
    except UnsupportedAlgorithm:
        return None


_Entries: TypeAlias = dict[tuple[Name, int], x509.ReasonFlags]


def _entries(view: x509.CertificateRevocationList, issuer: Name, *, is_indirect: bool) -> tuple[_Entries, bool]:
    """Return the entries, of two about one certificate the first, and whether one has an unknown critical extension.

    A list may have tens of thousands, nearly all of them without extensions.
    """
    found: _Entries = {}
    has_unknown = False
    about = issuer if is_indirect else ()
    for one in view:
        extensions = one.extensions
        reason = x509.ReasonFlags.unspecified
        if len(extensions):
            has_unknown = has_unknown or _is_unknown(extensions, _KNOWN_OF_ENTRIES)
            about = _issuer_of(one, about) if is_indirect else about
            reason = _reason(one)
        found.setdefault((about, one.serial_number), reason)
    return found, has_unknown


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return x509.ReasonFlags.unspecified


def _issuer_of(entry: x509.RevokedCertificate, before: Name) -> Name:
    """Return whose certificate an entry is about: it stays the same until an entry says otherwise."""
    try:
        names = entry.extensions.get_extension_for_class(x509.CertificateIssuer).value
    except x509.ExtensionNotFound:
        return before
    return next((normalized(one) for one in names.get_values_for_type(x509.DirectoryName)), ())
