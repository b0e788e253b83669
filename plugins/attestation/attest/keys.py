"""Public keys and signatures: loading, strength, and verifying what a certificate, list or answer is signed with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from attest.der import SEQUENCE, element, inside
from attest.limits import MAX_RSA_BITS, MAX_RSA_EXPONENT_BITS

__all__ = ["ANY_STRENGTH", "WEBPKI_STRENGTH", "PublicKey", "Signed", "Strength", "affordable", "load_key", "verifies"]

PublicKey: TypeAlias = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | dsa.DSAPublicKey
)

_KINDS = (
    rsa.RSAPublicKey,
    ec.EllipticCurvePublicKey,
    ed25519.Ed25519PublicKey,
    ed448.Ed448PublicKey,
    dsa.DSAPublicKey,
)
_DSA = bytes.fromhex("06072a8648ce380401")
_EC = bytes.fromhex("06072a8648ce3d0201")


@dataclass(frozen=True, slots=True)
class Strength:
    """The least that keys and signatures must be. Names of curves and digests are those of `cryptography`."""

    rsa_bits: int = 2048
    rsa_multiple: int = 1
    """CA/Browser Forum 6.1.5: a modulus of a whole number of bytes is 8."""
    curves: frozenset[str] = frozenset({"secp256r1", "secp384r1", "secp521r1"})
    digests: frozenset[str] = frozenset({"sha256", "sha384", "sha512"})
    edwards: bool = True
    dsa: bool = False

    def complaint(self, key: PublicKey | None) -> str | None:
        """Say what is wrong with a key, or nothing."""
        if isinstance(key, ec.EllipticCurvePublicKey):
            return None if key.curve.name in self.curves else key.curve.name
        if isinstance(key, rsa.RSAPublicKey):
            return self._rsa(key)
        if isinstance(key, dsa.DSAPublicKey):
            return None if self.dsa else f"DSA, {key.key_size} bits"
        if key is None:
            return "a kind of key that is not known here"
        return None if self.edwards else "EdDSA"

    def _rsa(self, key: rsa.RSAPublicKey) -> str | None:
        exponent = key.public_numbers().e
        if key.key_size < self.rsa_bits or key.key_size % self.rsa_multiple or exponent < 3 or not exponent & 1:
            return f"RSA, {key.key_size} bits, exponent {exponent}"
        return None if affordable(key) else f"RSA, {key.key_size} bits, exponent of {exponent.bit_length()} bits"

    def takes_hash(self, algorithm: hashes.HashAlgorithm | None) -> bool:
        """Whether signatures over this hash are taken; None stands for a scheme with a hash of its own (EdDSA)."""
        return self.edwards if algorithm is None else algorithm.name in self.digests


WEBPKI_STRENGTH = Strength(rsa_multiple=8, edwards=False)
"""CA/Browser Forum baseline requirements, 6.1.5 and 7.1.3."""

ANY_STRENGTH = Strength(
    rsa_bits=1024,
    curves=frozenset({"secp192r1", "secp224r1", "secp256r1", "secp384r1", "secp521r1"}),
    digests=frozenset({"sha1", "sha224", "sha256", "sha384", "sha512"}),
    dsa=True,
)
"""For test suites that are older than today's demands."""


@dataclass(frozen=True, slots=True)
class Signed:
    """Something signed: its bytes, the signature, and the algorithm that it names."""

    data: bytes
    signature: bytes
    hash: hashes.HashAlgorithm | None
    parameters: padding.PKCS1v15 | padding.PSS | ec.ECDSA | None


def affordable(key: PublicKey) -> bool:
    """Whether verifying under this key is cheap enough to be done for a stranger."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return True
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size <= MAX_RSA_BITS and key.public_numbers().e.bit_length() <= MAX_RSA_EXPONENT_BITS
    return not isinstance(key, dsa.DSAPublicKey) or key.key_size <= MAX_RSA_BITS // 2


def verifies(key: PublicKey, signed: Signed) -> bool:
    """Whether the signature is one of `key` over the data, by the algorithm that is named."""
    try:
        return _verified(key, signed)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False


def _verified(key: PublicKey, signed: Signed) -> bool:
    """Raises what the library raises for a signature that does not verify; false where key and algorithm do not fit."""
    scheme, digest = signed.parameters, signed.hash
    if isinstance(scheme, ec.ECDSA):
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(signed.signature, signed.data, scheme)
    elif isinstance(key, rsa.RSAPublicKey):
        if scheme is None or digest is None:
            return False
        key.verify(signed.signature, signed.data, scheme, digest)
    elif scheme is not None or isinstance(key, ec.EllipticCurvePublicKey):
        return False
    elif isinstance(key, dsa.DSAPublicKey):
        if digest is None:
            return False
        key.verify(signed.signature, signed.data, digest)
    else:
        if digest is not None:
            return False
        key.verify(signed.signature, signed.data)
    return True


@lru_cache(maxsize=512)
def _load(spki: bytes) -> PublicKey | None:
    try:
        if _has_explicit_curve(spki):
            return None
        key = load_der_public_key(spki)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, _KINDS) else None


def _has_explicit_curve(spki: bytes) -> bool:
    """RFC 5480 section 2.1.1: a curve is named; one written out may be a forger's (CVE-2020-0601)."""
    algorithm = inside(spki, least=1)[0]
    parts = inside(spki, algorithm[1], least=1)
    return spki[parts[0][1] : parts[0][3]] == _EC and [part[0] for part in parts[1:]] != [0x06]


def load_key(spki: bytes, above: PublicKey | None = None) -> PublicKey | None:
    """Load a SubjectPublicKeyInfo; DSA parameters left out are those of `above` (RFC 3279 section 2.3.2)."""
    if above is not None and isinstance(above, dsa.DSAPublicKey):
        parts = inside(spki, least=1)
        if spki[parts[0][2] : parts[0][3]] == _DSA:
            lender = above.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            theirs = inside(lender, least=1)[0]
            spki = element(SEQUENCE, lender[theirs[1] : theirs[3]] + spki[parts[0][3] :])
    return _load(spki)
