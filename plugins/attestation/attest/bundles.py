"""SPIFFE bundles: the authorities of a trust domain, as its JWK set (SPIFFE Trust Domain and Bundle section 4)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from attest.certificates import Refused
from attest.limits import MAX_BUNDLE_BYTES, MAX_BUNDLE_KEYS
from attest.search import Anchors
from attest.strictjson import Json, NotJson, TwiceKey, read_object

__all__ = ["BadBundle", "Bundle", "read_bundle"]

JwtKey = ECKey | RSAKey
_CURVES = ("P-256", "P-384", "P-521")
_MAX_NUMBER = 2**53 - 1
"""What every reader of JSON takes for the same number (RFC 7493 section 2.2): sequences stand in results."""


class BadBundle(ValueError):
    """Bytes that are no bundle, or an older one, with the code that says why."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Bundle:
    """Who may issue identities of one trust domain."""

    trust_domain: str
    sequence: int
    refresh_seconds: int | None
    anchors: Anchors
    jwt_keys: Mapping[str, JwtKey]
    digest: str
    refused: str = ""
    """The code of why nothing may be verified with it, or nothing."""

    @property
    def is_empty(self) -> bool:
        """Whether nobody may issue anything: the trust domain was revoked as a whole."""
        return not self.anchors.certificates and not self.jwt_keys


def read_bundle(trust_domain: str, data: bytes, *, at_least: int = 0) -> Bundle:
    """Read a bundle whose sequence is at least that of one seen before. Raises BadBundle."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise BadBundle("S-BUNDLE-MALFORMED", f"larger than {MAX_BUNDLE_BYTES} bytes")
    try:
        document = read_object(data)
        sequence = _number(document.get("spiffe_sequence", 0))
        hint = document.get("spiffe_refresh_hint")
        ders, keys = _keys(document.get("keys"))
        anchors = Anchors.of(ders)
    except TwiceKey as error:
        raise BadBundle("S-BUNDLE-DUP-KEY", str(error)) from error
    except (NotJson, Refused, JoseError, ValueError) as error:
        raise BadBundle("S-BUNDLE-MALFORMED", str(error)) from error
    if sequence < at_least:
        raise BadBundle("S-BUNDLE-ROLLBACK", f"sequence {sequence}, seen before {at_least}")
    refresh = None if hint is None else _number(hint)
    return Bundle(trust_domain, sequence, refresh, anchors, keys, hashlib.sha256(data).hexdigest())


def _number(value: Json) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise BadBundle("S-BUNDLE-MALFORMED", "a sequence or refresh hint that is no whole number below 2**53")
    return value


def _keys(listing: Json) -> tuple[list[bytes], dict[str, JwtKey]]:
    """Read the keys; those of a use that is not known are for somebody else (section 4.2.2)."""
    if not isinstance(listing, list) or len(listing) > MAX_BUNDLE_KEYS:
        raise NotJson(f"keys are no list of at most {MAX_BUNDLE_KEYS}")
    ders: list[bytes] = []
    keys: dict[str, JwtKey] = {}
    for one in listing:
        if not isinstance(one, dict):
            raise NotJson("a key that is no object")
        if one.get("use") == "x509-svid":
            ders.append(_certificate(one))
        elif one.get("use") == "jwt-svid":
            name, key = _jwt_key(one)
            if name in keys:
                raise NotJson("two keys of one name")
            keys[name] = key
    return ders, keys


def _certificate(one: Mapping[str, Json]) -> bytes:
    chain = one.get("x5c")
    if not isinstance(chain, list) or not chain or not isinstance(chain[0], str):
        raise NotJson("an authority without its certificate (x5c)")
    try:
        return base64.b64decode(chain[0], validate=True)
    except binascii.Error:
        raise NotJson("a certificate that is not base64") from None


def _jwt_key(one: Mapping[str, Json]) -> tuple[str, JwtKey]:
    name, kind = one.get("kid"), one.get("kty")
    if not isinstance(name, str) or not name:
        raise NotJson("a key without a name (kid)")
    public = {key: value for key, value in one.items() if key in ("kty", "crv", "x", "y", "n", "e")}
    if not all(isinstance(value, str) for value in public.values()):
        raise NotJson("a key whose members are no texts")
    if kind == "EC" and one.get("crv") not in _CURVES:
        raise NotJson("a curve that is not known here")
    if kind == "EC":
        return name, ECKey.import_key(public)  # type: ignore[arg-type]  # texts, as was just seen
    if kind == "RSA":
        return name, RSAKey.import_key(public)  # type: ignore[arg-type]
    raise NotJson("a key that is neither EC nor RSA")
