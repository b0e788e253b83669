"""One OCSP answer about one certificate (RFC 6960), in bytes that somebody handed over: nothing is asked here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from itertools import islice

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, OCSPExtensionOID

from attest.certificates import Certificate, Refused, parse
from attest.der import inside
from attest.keys import PublicKey, Signed, affordable, verifies
from attest.limits import MAX_OCSP_BYTES
from attest.rules import Rules

__all__ = ["Answer", "judge_answer", "request_for", "useful_until"]

_MAX_RESPONDER_CERTIFICATES = 4
_MAX_SINGLE_ANSWERS = 64


class Answer(Enum):
    """What an answer that can be believed says."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


def judge_answer(
    der: bytes, certificate: Certificate, issuer: Certificate, key: PublicKey | None, rules: Rules, at: datetime
) -> Answer | str:
    """Return what the answer says, or the code of why it says nothing. `key` is the issuer's."""
    if len(der) > MAX_OCSP_BYTES:
        return "R-OCSP-PARSE"
    if key is None or not affordable(key):
        return "R-OCSP-SIG"
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return "R-OCSP-STATUS"
        if not _is_whole(der):
            return "R-OCSP-SIG"
        if any(one.critical and one.oid != OCSPExtensionOID.NONCE for one in response.extensions):
            return "R-OCSP-CRIT-EXT"  # RFC 6960 section 4.4
        complaint = _signer_complaint(response, issuer, key, rules, at)
        if complaint is not None:
            return complaint
        single = next(_about(response, certificate, issuer), None)
        return "R-OCSP-CERTID" if single is None else _said(single, at)
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return "R-OCSP-PARSE"


def request_for(certificate: Certificate, issuer: Certificate) -> bytes:
    """Ask about one certificate. SHA-1 only names it here, and is what every responder knows (RFC 5019 section 2.1.1).

    Raises ValueError for a certificate that cannot be asked about.
    """
    try:
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate.view, issuer.view, SHA1())
        return builder.build().public_bytes(Encoding.DER)
    except (TypeError, OverflowError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from error


def useful_until(der: bytes) -> datetime | None:
    """Return when an answer, unverified, is to be asked for again, or None for one that says nothing about anybody."""
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return None
        ends = [single.next_update_utc for single in islice(response.responses, _MAX_SINGLE_ANSWERS)]
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
        return None
    return min((end for end in ends if end is not None), default=None)


def _is_whole(der: bytes) -> bool:
    """Whether the signature has no bits left over: the library does not look, and nobody signs how many there are."""
    wrapped = inside(der, inside(der, least=2)[1][2], least=2)[1]
    basic = inside(der, wrapped[2], least=3)
    return basic[2][2] < basic[2][3] and der[basic[2][2]] == 0


def _said(single: ocsp.OCSPSingleResponse, at: datetime) -> Answer | str:
    if single.this_update_utc > at:
        return "R-OCSP-FUTURE"
    if single.next_update_utc is None or single.next_update_utc < at:
        return "R-OCSP-STALE"
    return {
        ocsp.OCSPCertStatus.GOOD: Answer.GOOD,
        ocsp.OCSPCertStatus.REVOKED: Answer.REVOKED,
        ocsp.OCSPCertStatus.UNKNOWN: Answer.UNKNOWN,
    }[single.certificate_status]


def _about(
    response: ocsp.OCSPResponse, certificate: Certificate, issuer: Certificate
) -> Iterator[ocsp.OCSPSingleResponse]:
    name = issuer.view.subject.public_bytes(Encoding.DER)
    bits = inside(issuer.spki, least=2)[1]
    key = issuer.spki[bits[2] + 1 : bits[3]]
    for count, single in enumerate(response.responses):
        if count == _MAX_SINGLE_ANSWERS:
            return
        digest = single.hash_algorithm.name
        if digest not in ("sha1", "sha256", "sha384", "sha512") or single.serial_number != certificate.serial:
            continue
        hashes = (hashlib.new(digest, name).digest(), hashlib.new(digest, key).digest())
        if (single.issuer_name_hash, single.issuer_key_hash) == hashes:
            yield single


def _signer_complaint(
    response: ocsp.OCSPResponse, issuer: Certificate, key: PublicKey, rules: Rules, at: datetime
) -> str | None:
    """Say why nobody whom the issuer appointed has signed; the issuer itself may sign."""
    digest = response.signature_hash_algorithm
    if not rules.strength.takes_hash(digest):
        return "R-OCSP-SIG"

    def signed_by(signer: PublicKey) -> bool:
        scheme = _scheme(signer, digest)
        return verifies(signer, Signed(response.tbs_response_bytes, response.signature, digest, scheme))

    if signed_by(key):
        return None
    for view in response.certificates[:_MAX_RESPONDER_CERTIFICATES]:
        try:
            responder = parse(view.public_bytes(Encoding.DER))
        except Refused:
            continue
        own = responder.key()
        if own is not None and affordable(own) and signed_by(own):
            appointed = _is_appointed(responder, own, issuer, key, rules, at)
            return None if appointed else "R-OCSP-RESPONDER"
    return "R-OCSP-SIG"


def _scheme(key: PublicKey, digest: object) -> padding.PKCS1v15 | ec.ECDSA | None:
    if isinstance(key, rsa.RSAPublicKey):
        return padding.PKCS1v15()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(digest, HashAlgorithm):
        return ec.ECDSA(digest)
    return None


def _is_appointed(
    responder: Certificate, own: PublicKey, issuer: Certificate, key: PublicKey, rules: Rules, at: datetime
) -> bool:
    """RFC 6960 section 4.2.2.2: issued by the issuer itself, for signing OCSP answers, and valid now."""
    usage = responder.extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    is_for_ocsp = (
        usage is not None
        and isinstance(usage.value, x509.ExtendedKeyUsage)
        and ExtendedKeyUsageOID.OCSP_SIGNING in usage.value
    )
    signed = responder.signed
    return (
        is_for_ocsp
        and responder.issuer == issuer.subject
        and responder.not_before <= at <= responder.not_after
        and responder.algorithms_agree
        and rules.strength.complaint(own) is None
        and signed is not None
        and rules.strength.takes_hash(signed.hash)
        and verifies(key, signed)
    )
