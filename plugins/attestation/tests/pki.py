"""Authorities and certificates made for one test, good but for what the test changes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address

from attest.der import BIT_STRING, SEQUENCE, children, element
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
DIGEST = SHA256()
ECDSA_SHA256 = element(SEQUENCE, bytes.fromhex("06082a8648ce3d040302"))

Change = Callable[["Draft"], None]


@cache
def key(label: str) -> ec.EllipticCurvePrivateKey:
    """The same key for the same label, in one test run: making keys is what costs time."""
    return ec.generate_private_key(ec.SECP256R1())


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


@dataclass
class Draft:
    """A certificate before it is signed. `extensions` maps an identifier to (value, critical)."""

    subject: x509.Name
    issuer: x509.Name
    public: CertificatePublicKeyTypes
    serial: int
    begin: dt.datetime
    end: dt.datetime
    extensions: dict[x509.ObjectIdentifier, tuple[x509.ExtensionType, bool]]

    def put(self, value: x509.ExtensionType, *, critical: bool = False) -> None:
        self.extensions[value.oid] = (value, critical)

    def drop(self, oid: x509.ObjectIdentifier) -> None:
        self.extensions.pop(oid)

    def signed(self, signer: CertificateIssuerPrivateKeyTypes, digest: HashAlgorithm | None = DIGEST) -> bytes:
        builder = x509.CertificateBuilder(
            self.issuer,
            self.subject,
            self.public,
            self.serial,
            self.begin,
            self.end,
        )
        for value, critical in self.extensions.values():
            builder = builder.add_extension(value, critical)
        return builder.sign(signer, digest).public_bytes(Encoding.DER)  # type: ignore[arg-type]


def usage(**flags: bool) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{flag: flags.get(flag, False) for flag in every})


def names(*texts: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general(text) for text in texts])


def _general(text: str) -> x509.GeneralName:
    if "://" in text:
        return x509.UniformResourceIdentifier(text)
    if "@" in text:
        return x509.RFC822Name(text)
    return x509.IPAddress(ip_address(text)) if text[0].isdigit() else x509.DNSName(text)


@dataclass(frozen=True)
class Authority:
    """Something that signs: its certificate and its key."""

    der: bytes
    private: ec.EllipticCurvePrivateKey

    @property
    def view(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der)

    def authority(
        self,
        label: str = "intermediate",
        change: Change = lambda draft: None,
        private: ec.EllipticCurvePrivateKey | None = None,
    ) -> Authority:
        """Issue the certificate of an authority below this one."""
        private = private or key(label)
        return Authority(self.issue(authority_draft(label, self, private, change)), private)

    def leaf(
        self, change: Change = lambda draft: None, *texts: str, label: str = "leaf", digest: HashAlgorithm = DIGEST
    ) -> bytes:
        """Issue the certificate of a server."""
        draft = self.draft(label, key(label).public_key())
        draft.put(usage(digital_signature=True), critical=True)
        draft.put(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]))
        draft.put(names(*(texts or ("server.example",))))
        change(draft)
        return self.issue(draft, digest)

    def draft(self, label: str, public: CertificatePublicKeyTypes) -> Draft:
        own = x509.SubjectKeyIdentifier.from_public_key(self.private.public_key())
        draft = Draft(name(label), self.view.subject, public, 1000 + len(label), AT - DAY, AT + 30 * DAY, {})
        draft.put(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own))
        return draft

    def issue(self, draft: Draft, digest: HashAlgorithm | None = DIGEST) -> bytes:
        return draft.signed(self.private, digest)

    def crl(
        self,
        *revoked: int,
        change: Callable[[x509.CertificateRevocationListBuilder], x509.CertificateRevocationListBuilder] = lambda b: b,
        number: int | None = 7,
        begin: dt.datetime = AT - DAY,
        end: dt.datetime = AT + DAY,
        issuer: x509.Name | None = None,
        private: ec.EllipticCurvePrivateKey | None = None,
    ) -> bytes:
        builder = x509.CertificateRevocationListBuilder(issuer or self.view.subject, begin, end)
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        for serial in revoked:
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, AT - DAY).build())
        return change(builder).sign(private or self.private, SHA256()).public_bytes(Encoding.DER)


def authority_draft(label: str, issuer: Authority | None, private: ec.EllipticCurvePrivateKey, change: Change) -> Draft:
    if issuer is None:
        draft = Draft(name(label), name(label), private.public_key(), 1, AT - 365 * DAY, AT + 3650 * DAY, {})
    else:
        draft = issuer.draft(label, private.public_key())
        draft.end = AT + 300 * DAY
    draft.put(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    draft.put(usage(key_cert_sign=True, crl_sign=True), critical=True)
    draft.put(x509.SubjectKeyIdentifier.from_public_key(private.public_key()))
    change(draft)
    return draft


def root(label: str = "root", change: Change = lambda draft: None) -> Authority:
    """Make an authority that signs itself."""
    private = key(label)
    return Authority(authority_draft(label, None, private, change).signed(private), private)


def spki(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def body(der: bytes) -> bytes:
    """The part of a certificate that is signed."""
    start = children(der)[0][2]
    return der[start : children(der, start)[0][3]]


def sign_body(
    tbs: bytes, private: ec.EllipticCurvePrivateKey, digest: HashAlgorithm = DIGEST, algorithm: bytes = ECDSA_SHA256
) -> bytes:
    """Sign bytes that no builder would make."""
    signature = private.sign(tbs, ec.ECDSA(digest))
    return element(SEQUENCE, tbs + algorithm + element(BIT_STRING, b"\0" + signature))


def replaced(tbs: bytes, old: bytes, new: bytes) -> bytes:
    """Put other bytes of the same length in the place of some that occur there."""
    assert tbs.count(old) >= 1 and len(old) == len(new)
    return tbs.replace(old, new, 1)


def with_extensions(tbs: bytes, change: Callable[[list[bytes]], Sequence[bytes]]) -> bytes:
    """Change the list of extensions, each as its bytes."""
    parts = children(tbs, children(tbs)[0][2])
    wrapper = parts[-1]
    listing = children(tbs, wrapper[2], wrapper[3])[0]
    found = [tbs[begin:end] for _, begin, _, end in children(tbs, listing[2], listing[3])]
    made = element(0xA3, element(SEQUENCE, b"".join(change(found))))
    return element(SEQUENCE, tbs[children(tbs)[0][2] : wrapper[1]] + made)
