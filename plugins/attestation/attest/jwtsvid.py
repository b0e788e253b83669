"""JWT-SVIDs: a signed token of one trust domain about one SPIFFE ID, for an audience and a short time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from attest.bundles import Bundle, JwtKey
from attest.keys import Strength
from attest.limits import MAX_TOKEN_BYTES
from attest.spiffe import BadSpiffeId, SpiffeId, is_allowed, read_id
from attest.strictjson import Json, NotJson, b64url, read_object
from attest.verdict import UNAUTHENTICATED, Findings, Outcome

__all__ = ["TokenRules", "verify_jwt_svid"]

_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
"""JWT-SVID section 2.1; `none` and shared keys are not among them."""

_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_REGISTRY = JWSRegistry(algorithms=list(_ALGORITHMS))
_HEADERS = frozenset({"alg", "kid", "typ"})
_TYPES = ("JWT", "JOSE")
_LEEWAY = timedelta(0)
_LAST_MOMENT = 253402300799
"""The end of the year 9999, in seconds since 1970: what `datetime` can hold."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token is held to: one of `audiences` in it, and an ID within `allowed`."""

    audiences: frozenset[str]
    allowed: tuple[str, ...]
    leeway: timedelta = _LEEWAY
    strength: Strength = field(default_factory=Strength)


def verify_jwt_svid(token: bytes, bundles: Mapping[str, Bundle], rules: TokenRules, at: datetime) -> Outcome:
    """Verify a token against the keys of the trust domain that its subject names, and no others."""
    findings = Findings()
    if len(token) > MAX_TOKEN_BYTES:
        findings.against("C-SIZE", "token", f"{MAX_TOKEN_BYTES} bytes", len(token))
        return findings.outcome()
    parts = _taken_apart(findings, token)
    if parts is None:
        return findings.outcome()
    header, claims, signature = parts
    findings.run("header", "token.header", _header, header)
    identity = _subject(findings, claims)
    bundle = bundles.get(identity.trust_domain) if identity else None
    key = _key(findings, header, identity, bundle, rules)
    if key is None or not findings.run("signature", "token", _signature, token, signature, key, header):
        for check in ("audience", "lifetime", "spiffe-allowed"):
            findings.skip(check, "token.claims", UNAUTHENTICATED)
        return findings.outcome()
    findings.run("audience", "token.claims.aud", _audience, claims, rules)
    findings.run("lifetime", "token.claims", _lifetime, claims, at, rules)
    if identity is None or bundle is None:  # a key was found under both
        return findings.outcome()
    findings.run("spiffe-allowed", "token.claims.sub", _allowed, identity, rules)
    return findings.outcome(spiffe_id=str(identity), bundle=bundle.digest, sequence=bundle.sequence)


def _taken_apart(findings: Findings, token: bytes) -> tuple[dict[str, Json], dict[str, Json], bytes] | None:
    """Compact serialisation alone: three parts, each in its one spelling."""
    pieces = token.split(b".")
    if len(pieces) != 3 or not token.isascii():
        findings.against("J-SER", "token", "three parts", len(pieces))
        return None
    try:
        header, claims, signature = (b64url(piece.decode()) for piece in pieces)
        return read_object(header), read_object(claims), signature
    except NotJson as error:
        findings.against("C-PARSE", "token", "base64url of JSON objects", error)
        return None


def _header(findings: Findings, path: str, header: Mapping[str, Json]) -> None:
    if header.get("alg") not in _ALGORITHMS:
        findings.against("J-ALG", path, ", ".join(_ALGORITHMS), header.get("alg"))
    if "typ" in header and header["typ"] not in _TYPES:
        findings.against("J-TYP", path, " or ".join(_TYPES), header["typ"])
    if header.keys() - _HEADERS:
        findings.against("J-HEADER-EXTRA", path, "alg, kid, typ", ", ".join(sorted(header.keys() - _HEADERS)))


def _subject(findings: Findings, claims: Mapping[str, Json]) -> SpiffeId | None:
    subject = claims.get("sub")
    try:
        identity = read_id(subject) if isinstance(subject, str) else None
    except BadSpiffeId:
        identity = None
    if identity is None or not identity.path:
        findings.against("J-SUB", "token.claims.sub", "a SPIFFE ID with a path", subject)
        return None
    return identity


def _key(
    findings: Findings,
    header: Mapping[str, Json],
    identity: SpiffeId | None,
    bundle: Bundle | None,
    rules: TokenRules,
) -> JwtKey | None:
    """Find the key that the header names; it comes from the bundle and from nowhere else."""
    if identity is None or header.get("alg") not in _ALGORITHMS:
        return None
    if bundle is not None and bundle.refused:
        findings.against(bundle.refused, "bundle", "a bundle as new as one seen before", f"sequence {bundle.sequence}")
        return None
    if bundle is None or bundle.is_empty:
        code = "S-TD-NO-BUNDLE" if bundle is None else "S-BUNDLE-EMPTY"
        findings.against(code, "token.claims.sub", "keys of the trust domain", identity.trust_domain)
        return None
    name = header.get("kid")
    key = bundle.jwt_keys.get(name) if isinstance(name, str) else None
    if key is None:
        findings.against("J-KID-UNKNOWN", "token.header.kid", "a key of the bundle", name)
        return None
    public = key.public_key
    usable = public if isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) else None
    complaint = rules.strength.complaint(usable)
    if complaint is not None:
        findings.against("J-KEY-WEAK", "token.header.kid", "a key that the rules take", complaint)
        return None
    return key


def _signature(
    findings: Findings, path: str, token: bytes, signature: bytes, key: JwtKey, header: Mapping[str, Json]
) -> None:
    signed = token.rpartition(b".")[0]
    try:
        is_good = _fits(key, str(header["alg"])) and _REGISTRY.get_alg(str(header["alg"])).verify(
            signed, signature, key
        )
    except (JoseError, ValueError, TypeError):
        is_good = False
    if not is_good:
        findings.against("J-SIG", path, "a signature by the key that is named", "another")


def _fits(key: JwtKey, algorithm: str) -> bool:
    """RFC 7518 section 3.4: an ECDSA algorithm is for one curve."""
    if isinstance(key, ECKey):
        return key.curve_name == _CURVES.get(algorithm)
    return algorithm not in _CURVES


def _audience(findings: Findings, path: str, claims: Mapping[str, Json], rules: TokenRules) -> None:
    given = claims.get("aud")
    audiences = [given] if isinstance(given, str) else given
    if not isinstance(audiences, list) or not audiences or not all(isinstance(one, str) for one in audiences):
        findings.against("J-AUD-MISSING", path, "an audience", given)
    elif not rules.audiences.intersection(str(one) for one in audiences):
        findings.against("J-AUD", path, ", ".join(sorted(rules.audiences)), ", ".join(map(str, audiences)))


def _lifetime(findings: Findings, path: str, claims: Mapping[str, Json], at: datetime, rules: TokenRules) -> None:
    expiry, begin = _moment(claims.get("exp")), _moment(claims.get("nbf"))
    if expiry is None:
        findings.against("J-EXP-MISSING", path, "an expiry", claims.get("exp"))
    elif at >= expiry + rules.leeway:
        findings.against("J-EXPIRED", path, f"before {expiry.isoformat()}", at.isoformat())
    if "nbf" in claims and (begin is None or at < begin - rules.leeway):
        findings.against("J-NBF", path, f"from {begin.isoformat() if begin else 'a moment'} on", at.isoformat())


def _moment(value: Json) -> datetime | None:
    is_number = type(value) in (int, float)
    if not is_number or not isinstance(value, int | float) or not 0 <= value <= _LAST_MOMENT:
        return None
    return datetime.fromtimestamp(value, UTC)


def _allowed(findings: Findings, path: str, identity: SpiffeId, rules: TokenRules) -> None:
    if not is_allowed(identity, rules.allowed):
        findings.against("S-NOT-ALLOWED", path, ", ".join(rules.allowed) or "nobody", identity)
