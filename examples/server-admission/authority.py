"""An authority made for one run of the example: a root, certificates of servers, a revocation list, tokens."""

from __future__ import annotations

import base64
import datetime as dt
import json
from dataclasses import dataclass, field
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = dt.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in PEM."""

    certificate: x509.Certificate
    key: Key

    def pem(self) -> str:
        """Both, as a server loads them."""
        secret = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self.certificate.public_bytes(Encoding.PEM).decode() + secret.decode()

    @property
    def spki(self) -> bytes:
        """The public key, in DER."""
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Authority:
    """One root that issues everything itself."""

    name: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC).replace(microsecond=0))
    _serial: int = 1000

    def __post_init__(self) -> None:
        builder = self._builder(self.name, self.key, -DAY, 3650 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        own = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        self.certificate = builder.add_extension(own, critical=False).sign(self.key, SHA256())

    def issue(self, *names: str, key: Key | None = None, begin: dt.timedelta = -DAY, end: dt.timedelta = DAY) -> Issued:
        """Issue the certificate of a server; `begin` and `end` count from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = self._builder("server", key, begin, end)
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(text) for text in names]), critical=False)
        builder = builder.add_extension(_usage(digital_signature=True), critical=True)
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return Issued(builder.add_extension(above, critical=False).sign(self.key, SHA256()), key)

    def _builder(self, name: str, key: Key, begin: dt.timedelta, end: dt.timedelta) -> x509.CertificateBuilder:
        self._serial += 1
        subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, self.name))
        return x509.CertificateBuilder(
            issuer, subject, key.public_key(), self._serial, self.now + begin, self.now + end
        )

    def revocations(self, *revoked: Issued) -> str:
        """Write the revocation list, in PEM."""
        builder = x509.CertificateRevocationListBuilder(
            self.certificate.subject, self.now - DAY, self.now + DAY
        ).add_extension(x509.CRLNumber(1), critical=False)
        for one in revoked:
            entry = x509.RevokedCertificateBuilder(one.certificate.serial_number, self.now - DAY).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM).decode()

    def bundle(self) -> str:
        """Write the SPIFFE bundle: this root for certificates, its key for tokens."""
        numbers = self.key.public_key().public_numbers()
        der = base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()
        point = {"kty": "EC", "crv": "P-256", "x": _text(numbers.x.to_bytes(32)), "y": _text(numbers.y.to_bytes(32))}
        keys = [{"use": "x509-svid", **point, "x5c": [der]}, {"use": "jwt-svid", "kid": "1", **point}]
        return json.dumps({"spiffe_sequence": 1, "keys": keys})

    def token(self, identity: str, audience: str) -> str:
        """Issue a JWT-SVID."""
        claims = {"sub": identity, "aud": [audience], "exp": int(self.now.timestamp()) + 300}
        signed = ".".join(_text(json.dumps(part).encode()) for part in ({"alg": "ES256", "kid": "1"}, claims))
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{_text(r.to_bytes(32) + s.to_bytes(32))}"


def _usage(**flags: bool) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{flag: flags.get(flag, False) for flag in every})


def _name(text: str) -> x509.GeneralName:
    if "://" in text:
        return x509.UniformResourceIdentifier(text)
    return x509.IPAddress(ip_address(text)) if text[0].isdigit() else x509.DNSName(text)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
