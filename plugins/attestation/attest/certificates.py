"""A certificate as bytes that were taken apart once: the frame by our own reader, the content by `cryptography`.

Whatever is read lazily by the library is read here at once, so that a certificate is either whole or refused.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID

from attest.der import BIT_STRING, SEQUENCE, children, element, inside, read
from attest.keys import PublicKey, Signed, load_key
from attest.limits import MAX_CERTIFICATE_BYTES
from attest.names import Name, normalized

__all__ = ["Certificate", "Refused", "parse"]

# A serial number that is not positive is a finding of ours (X-SERIAL), with a place.
warnings.filterwarnings("ignore", message="Parsed a serial number", category=CryptographyDeprecationWarning)

_DSA = bytes.fromhex("06072a8648ce380401")
_ANY_DSA_PARAMETERS = element(SEQUENCE, bytes.fromhex("020101020101020101"))
_CACHED_CERTIFICATES = 512
"""Parsed certificates kept: those of authorities come again with every server."""


_UNREADABLE = (ValueError, TypeError, x509.UnsupportedGeneralNameType)
"""What the library raises for an extension that it cannot read."""


class Refused(Exception):
    """Bytes that are no certificate, with the code that says why."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """One certificate. Two are the same when their bytes are."""

    der: bytes
    tbs: bytes
    signature: bytes
    algorithms_agree: bool
    spki: bytes
    issuer: Name
    subject: Name
    not_before: datetime
    not_after: datetime
    serial: int
    is_v3: bool
    extensions: dict[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]]
    faults: tuple[tuple[str, str], ...]
    """What is wrong with the extensions: (code, text). They are empty then."""
    view: x509.Certificate
    signed: Signed | None
    """What is signed, or None if the algorithm is not known here."""
    self_issued: bool
    """Whether subject and issuer are one name (RFC 5280 section 3.2)."""
    basic_constraints: x509.BasicConstraints | None
    key_usage: x509.KeyUsage | None
    is_authority: bool
    """Whether basicConstraints say so."""
    names: tuple[x509.GeneralName, ...]
    """The subjectAltNames."""
    critical: tuple[x509.ObjectIdentifier, ...]
    """Identifiers of the critical extensions."""
    digest: str
    """SHA-256 of the certificate, in hex."""
    spki_digest: str
    """SHA-256 of the public key as it stands in the certificate, in hex."""

    def key(self, above: PublicKey | None = None) -> PublicKey | None:
        """Load the public key, or None if it is of no kind known here. `above` lends DSA parameters left out."""
        return load_key(self.spki, above)


@lru_cache(maxsize=_CACHED_CERTIFICATES)
def parse(der: bytes) -> Certificate:
    """Take a certificate apart. Raises Refused."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise Refused("C-SIZE", f"{len(der)} bytes")
    try:
        frame = _Frame(der)
        view = x509.load_der_x509_certificate(frame.readable())
        extensions, faults = _extensions(view)
        issuer, subject = normalized(view.issuer), normalized(view.subject)
        basic = _value(extensions, ExtensionOID.BASIC_CONSTRAINTS, x509.BasicConstraints)
        return Certificate(
            der=der,
            tbs=frame.tbs,
            signature=frame.signature,
            algorithms_agree=frame.algorithms_agree,
            spki=frame.spki,
            issuer=issuer,
            subject=subject,
            not_before=view.not_valid_before_utc,
            not_after=view.not_valid_after_utc,
            serial=view.serial_number,
            is_v3=view.version is x509.Version.v3,
            extensions=extensions,
            faults=faults,
            view=view,
            signed=_signed(frame, view),
            self_issued=issuer == subject,
            basic_constraints=basic,
            key_usage=_value(extensions, ExtensionOID.KEY_USAGE, x509.KeyUsage),
            is_authority=basic is not None and basic.ca,
            critical=tuple(oid for oid, found in extensions.items() if found.critical),
            digest=hashlib.sha256(der).hexdigest(),
            spki_digest=hashlib.sha256(frame.spki).hexdigest(),
            names=tuple(_value(extensions, ExtensionOID.SUBJECT_ALTERNATIVE_NAME, x509.SubjectAlternativeName) or ()),
        )
    except x509.InvalidVersion as error:
        raise Refused("X-VERSION", str(error)) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise Refused("C-PARSE", str(error)) from error


class _Frame:
    """Where the parts of a certificate stand in its bytes."""

    def __init__(self, der: bytes) -> None:
        outer = children(der)
        if len(outer) != 1 or outer[0][0] != SEQUENCE:
            raise ValueError("not one SEQUENCE")
        parts = children(der, outer[0][2])
        if [part[0] for part in parts] != [SEQUENCE, SEQUENCE, BIT_STRING]:
            raise ValueError("not the three parts of a certificate")
        (_, tbs_begin, tbs_start, tbs_end), (_, alg_begin, _, alg_end), (_, _, bits_start, bits_end) = parts
        is_whole = bits_start < bits_end and der[bits_start] == 0
        self.der = der
        self.tbs = der[tbs_begin:tbs_end]
        # No signature has bits left over: one that claims to verifies under no key.
        self.signature = der[bits_start + 1 : bits_end] if is_whole else b""
        fields = children(der, tbs_start, tbs_end)
        fields = fields[1:] if fields and fields[0][0] == 0xA0 else fields
        if len(fields) < 6 or fields[5][0] != SEQUENCE:
            raise ValueError("fields are missing")
        self.algorithms_agree = der[fields[1][1] : fields[1][3]] == der[alg_begin:alg_end]
        self._tail = der[tbs_end:]
        self._head = der[tbs_start : fields[5][1]]
        self._rest = der[fields[5][3] : tbs_end]
        self.spki = der[fields[5][1] : fields[5][3]]

    def readable(self) -> bytes:
        """Return the certificate as the library reads it: it refuses DSA keys that inherit their parameters."""
        parts = inside(self.spki, least=1)
        if self.spki[parts[0][2] : parts[0][3]] != _DSA:
            return self.der
        completed = element(SEQUENCE, element(SEQUENCE, _DSA + _ANY_DSA_PARAMETERS) + self.spki[parts[0][3] :])
        return element(SEQUENCE, element(SEQUENCE, self._head + completed + self._rest) + self._tail)


def _signed(frame: _Frame, view: x509.Certificate) -> Signed | None:
    try:
        digest, parameters = view.signature_hash_algorithm, view.signature_algorithm_parameters
    except (UnsupportedAlgorithm, ValueError, TypeError):
        return None
    return Signed(frame.tbs, frame.signature, digest, parameters)


V = TypeVar("V", bound=x509.ExtensionType)
_Extensions = dict[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]]


def _value(extensions: _Extensions, oid: x509.ObjectIdentifier, kind: type[V]) -> V | None:
    found = extensions.get(oid)
    return found.value if found is not None and isinstance(found.value, kind) else None


def _extensions(view: x509.Certificate) -> tuple[_Extensions, tuple[tuple[str, str], ...]]:
    try:
        return {found.oid: found for found in view.extensions}, ()
    except x509.DuplicateExtension as error:
        return {}, (("X-DUP-EXT", str(error)),)
    except _UNREADABLE as error:
        return {}, ((_whose_fault(view), str(error)),)


_SAN = bytes.fromhex("0603551d11")
_CONSTRAINTS = bytes.fromhex("0603551d1e")


def _whose_fault(view: x509.Certificate) -> str:
    """Find the extension that cannot be read: the library says only that there is one."""
    tbs = view.tbs_certificate_bytes
    last = inside(tbs)[-1]
    if last[0] != 0xA3:
        return "X-EXT-MALFORMED"
    for _, begin, start, end in inside(tbs, last[2]):
        alone = element(SEQUENCE, tbs[begin:end])
        if not _readable(view, element(0xA3, alone), last[1]):
            return {_SAN: "X-SAN-MALFORMED", _CONSTRAINTS: "X-NC-MALFORMED"}.get(
                tbs[start : start + len(_SAN)], "X-EXT-MALFORMED"
            )
    return "X-EXT-MALFORMED"


def _readable(view: x509.Certificate, extensions: bytes, begin: int) -> bool:
    """Whether the certificate could be read if these were its extensions."""
    tbs = view.tbs_certificate_bytes
    body = tbs[read(tbs, 0)[1] : begin] + extensions
    rest = element(SEQUENCE, bytes.fromhex("06082a8648ce3d040302")) + element(BIT_STRING, b"\0")
    try:
        list(x509.load_der_x509_certificate(element(SEQUENCE, element(SEQUENCE, body) + rest)).extensions)
    except _UNREADABLE:
        return False
    return True
