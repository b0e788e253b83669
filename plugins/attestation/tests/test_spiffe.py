"""Each code of SPIFFE identities in a case where only that check fails, beside the same identity unharmed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from attest.bundles import BadBundle, Bundle, read_bundle
from attest.codes import CODES, GROUPS, Effect
from attest.jwtsvid import TokenRules, verify_jwt_svid
from attest.limits import MAX_CERTIFICATES, MAX_TOKEN_BYTES
from attest.spiffe import BadSpiffeId, SpiffeId, is_allowed, read_id
from attest.strictjson import NotJson, b64url, read_object
from attest.verdict import Findings, Outcome, Result, Verdict
from attest.x509svid import SvidRules, verify_x509_svid
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from pki import AT, Authority, Draft, names, root, usage

OWN, OTHER = "prod.example", "test.example"
WORKLOAD = f"spiffe://{OWN}/billing/api"
ROOT, STRANGER = root("spiffe root"), root("other root")
TOKEN_KEY = ECKey.generate_key("P-256", {"kid": "k1"})
WEAK_KEY = RSAKey.generate_key(1024, {"kid": "weak"})
RULES = SvidRules((f"spiffe://{OWN}/billing/*",))
TOKENS = TokenRules(frozenset({"gateway"}), (f"spiffe://{OWN}/billing/*",))


def document(*authorities: Authority, keys: tuple[ECKey | RSAKey, ...] = (), sequence: int = 3) -> bytes:
    listed: list[Mapping[str, object]] = [
        {"use": "x509-svid", "kty": "EC", "crv": "P-256", "x5c": [base64.b64encode(one.der).decode()]}
        for one in authorities
    ]
    listed += [{**one.as_dict(private=False), "use": "jwt-svid"} for one in keys]
    return json.dumps({"spiffe_sequence": sequence, "spiffe_refresh_hint": 60, "keys": listed}).encode()


BUNDLES = {
    OWN: read_bundle(OWN, document(ROOT, keys=(TOKEN_KEY, WEAK_KEY))),
    OTHER: read_bundle(OTHER, document(STRANGER)),
}


def svid(
    change: Callable[[Draft], None] = lambda draft: None,
    *uris: str,
    authority: Authority = ROOT,
    bundles: Mapping[str, Bundle] = BUNDLES,
    rules: SvidRules = RULES,
) -> Outcome:
    leaf = authority.leaf(change, *(uris or (WORKLOAD,)))
    above = [] if authority in (ROOT, STRANGER) else [authority.der]
    return verify_x509_svid([leaf, *above], bundles, rules, AT)


def under(change: Callable[[Draft], None]) -> Outcome:
    return svid(authority=ROOT.authority("between", change))


def put(value: x509.ExtensionType, *, critical: bool = True) -> Callable[[Draft], None]:
    return lambda draft: draft.put(value, critical=critical)


def a_workload_authority() -> Outcome:
    return svid(put(x509.BasicConstraints(ca=True, path_length=None)))


def bundle(data: bytes, at_least: int = 0) -> Outcome:
    """What a bundle that cannot be used comes to."""
    findings = Findings()
    try:
        read_bundle(OWN, data, at_least=at_least)
    except BadBundle as error:
        findings.against(error.code, "bundle", "a bundle", error)
    return findings.outcome()


def signed(
    header: Mapping[str, object] | None = None, key: ECKey | RSAKey = TOKEN_KEY, drop: str = "", **claims: object
) -> bytes:
    """A good token but for what is changed."""
    members = {"sub": WORKLOAD, "aud": ["gateway"], "exp": seconds(300), "iat": seconds(0), **claims}
    members.pop(drop, None)
    protected = {"alg": "ES256", "kid": "k1", "typ": "JWT", **(header or {})}
    registry = jws.JWSRegistry(algorithms=["ES256", "RS256", "HS256"], strict_check_header=False)
    return jws.serialize_compact(protected, json.dumps(members).encode(), key, registry=registry).encode()


def seconds(after: int) -> int:
    return int((AT + timedelta(seconds=after)).timestamp())


def token(data: bytes, bundles: Mapping[str, Bundle] = BUNDLES) -> Outcome:
    return verify_jwt_svid(data, bundles, TOKENS, AT)


def unsigned(header: Mapping[str, object]) -> bytes:
    """A token whose header was changed after it was signed."""
    _, claims, signature = signed().split(b".")
    return b".".join([base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"="), claims, signature])


CASES: dict[str, Callable[[], Outcome]] = {
    "S-URI-COUNT": lambda: svid(lambda draft: None, WORKLOAD, "https://billing.example"),
    "S-SCHEME": lambda: svid(lambda draft: None, "https://prod.example/billing/api"),
    "S-ID-SYNTAX": lambda: svid(lambda draft: None, f"spiffe://{OWN}/billing//api"),
    "S-TD-SYNTAX": lambda: svid(lambda draft: None, "spiffe://user@prod.example/billing/api"),
    "S-ROOT-PATH": lambda: svid(lambda draft: None, f"spiffe://{OWN}", rules=SvidRules((f"spiffe://{OWN}",))),
    "S-TD-NO-BUNDLE": lambda: svid(lambda draft: None, "spiffe://unknown.example/billing/api"),
    "S-TD-BUNDLE-MISMATCH": lambda: svid(authority=STRANGER),
    "S-BUNDLE-EMPTY": lambda: svid(bundles={OWN: read_bundle(OWN, document())}),
    "S-BUNDLE-MALFORMED": lambda: bundle(b'{"keys": [{"use": "jwt-svid", "kty": "EC"}]}'),
    "S-BUNDLE-DUP-KEY": lambda: bundle(b'{"keys": [], "keys": []}'),
    "S-BUNDLE-ROLLBACK": lambda: bundle(document(ROOT, sequence=3), at_least=4),
    "S-LEAF-CA": a_workload_authority,
    "S-KU-NOT-CRITICAL": lambda: svid(put(usage(digital_signature=True), critical=False)),
    "S-KU-DIGSIG": lambda: svid(put(usage(key_agreement=True))),
    "S-KU-CERTSIGN": lambda: svid(put(usage(digital_signature=True, key_cert_sign=True))),
    "S-KU-CRLSIGN": lambda: svid(put(usage(digital_signature=True, crl_sign=True))),
    "S-EKU": lambda: svid(put(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)),
    "S-NOT-ALLOWED": lambda: svid(lambda draft: None, f"spiffe://{OWN}/billingx/api"),
    "J-SER": lambda: token(signed() + b".x"),
    "J-ALG": lambda: token(unsigned({"alg": "none", "kid": "k1"})),
    "J-TYP": lambda: token(signed({"typ": "at+jwt"})),
    "J-HEADER-EXTRA": lambda: token(signed({"jku": "https://keys.example"})),
    "J-KID-UNKNOWN": lambda: token(signed({"kid": "k2"})),
    "J-KEY-WEAK": lambda: token(signed({"alg": "RS256", "kid": "weak"}, WEAK_KEY)),
    "J-SIG": lambda: token(signed(key=ECKey.generate_key("P-256", {"kid": "k1"}))),
    "J-SUB": lambda: token(signed(sub="billing")),
    "J-AUD-MISSING": lambda: token(signed(drop="aud")),
    "J-AUD": lambda: token(signed(aud="somebody else")),
    "J-EXP-MISSING": lambda: token(signed(drop="exp")),
    "J-EXPIRED": lambda: token(signed(exp=seconds(0))),
    "J-NBF": lambda: token(signed(nbf=seconds(1))),
}


def test_an_unharmed_identity_is_admitted() -> None:
    assert svid().verdict is Verdict.ADMIT
    assert under(lambda draft: None).verdict is Verdict.ADMIT
    assert svid().claims["spiffe_id"] == WORKLOAD
    outcome = token(signed(nbf=seconds(0)))
    assert outcome.verdict is Verdict.ADMIT and outcome.claims["spiffe_id"] == WORKLOAD


@pytest.mark.parametrize("code", CASES)
def test_only_the_check_that_fails_is_reported(code: str) -> None:
    outcome = CASES[code]()
    assert outcome.codes == {code}, outcome.reasons
    assert outcome.verdict is (Verdict.DENY if CODES[code] is Effect.DENY else Verdict.ERROR)


def test_every_code_of_spiffe_has_its_case() -> None:
    assert set(GROUPS["SPIFFE"]) == set(CASES)


def test_an_authority_with_the_id_of_a_workload_is_none() -> None:
    assert under(put(names(f"spiffe://{OWN}/issuer"), critical=False)).codes == {"S-ROOT-PATH"}
    assert under(put(names(f"spiffe://{OWN}"), critical=False)).verdict is Verdict.ADMIT


@pytest.mark.parametrize(
    ("above", "code"), [([b"not a certificate"], "C-PARSE"), ([b"\x30"] * MAX_CERTIFICATES, "C-SIZE")]
)
def test_what_is_no_certificate_behind_a_good_identity_is_a_denial(above: list[bytes], code: str) -> None:
    outcome = verify_x509_svid([ROOT.leaf(lambda draft: None, WORKLOAD), *above], BUNDLES, RULES, AT)
    assert outcome.codes == {code} and outcome.verdict is Verdict.DENY
    skipped = {check.name: check.why for check in outcome.checks if check.result is Result.SKIP}
    assert skipped == dict.fromkeys(("spiffe-id", "spiffe-usage", "spiffe-allowed"), "unauthenticated")


def test_an_id_under_a_signature_that_fails_is_not_judged() -> None:
    """It is of no allowed path either, but nobody we trust said so."""
    stranger = Authority(ROOT.der, STRANGER.private)
    outcome = svid(lambda draft: None, f"spiffe://{OWN}/other", authority=stranger, bundles={OWN: BUNDLES[OWN]})
    assert outcome.codes == {"X-SIG"}
    skipped = {check.name: check.why for check in outcome.checks if check.result is Result.SKIP}
    assert {"spiffe-id", "spiffe-usage", "spiffe-allowed", "validity"} <= skipped.keys()
    assert set(skipped.values()) == {"unauthenticated"}


def test_an_identity_whose_checks_are_timed_is_judged_as_before(timed: None) -> None:
    outcome = svid(lambda draft: None, WORKLOAD)
    assert outcome.verdict is Verdict.ADMIT
    assert {check.us for check in outcome.checks} == {1e6}
    assert svid(lambda draft: None, f"spiffe://{OWN}/other").codes == {"S-NOT-ALLOWED"}


def test_a_dns_name_beside_the_id_does_no_harm() -> None:
    assert svid(lambda draft: None, WORKLOAD, "billing.example").verdict is Verdict.ADMIT


def test_claims_of_a_token_are_not_read_when_the_signature_fails() -> None:
    outcome = token(signed(key=ECKey.generate_key("P-256", {"kid": "k1"}), exp=seconds(-5), aud="else"))
    skipped = {(check.name, check.why) for check in outcome.checks if check.result is Result.SKIP}
    assert outcome.codes == {"J-SIG"}
    assert skipped == {(name, "unauthenticated") for name in ("audience", "lifetime", "spiffe-allowed")}


def test_all_that_is_wrong_with_a_token_is_told() -> None:
    assert token(signed(aud="else", exp=seconds(-5), nbf=seconds(9))).codes == {"J-AUD", "J-EXPIRED", "J-NBF"}


def test_a_shared_key_made_of_the_public_one_is_no_key() -> None:
    assert token(unsigned({"alg": "HS256", "kid": "k1"})).codes == {"J-ALG"}


def test_an_algorithm_for_another_key_than_the_one_that_is_named_verifies_nothing() -> None:
    for algorithm in ("RS256", "PS512", "ES384", "ES512"):
        assert token(unsigned({"alg": algorithm, "kid": "k1"})).codes == {"J-SIG"}


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "EC", "crv": "P-9", "x": "AA", "y": "AA"}, {"kty": "EC"}, {"kty": "EC", "crv": "P-256", "x": 1, "y": 2},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "RSA", "n": "", "e": ""}, {"kty": "oct"},
        {"kty": "RSA"}, {},
    ],
)  # fmt: skip
def test_a_bundle_with_a_key_that_is_none_is_refused(key: dict[str, object]) -> None:
    data = json.dumps({"keys": [{**key, "use": "jwt-svid", "kid": "k"}]}).encode()
    assert bundle(data).codes == {"S-BUNDLE-MALFORMED"}


@pytest.mark.parametrize("sequence", [2**53, -1, 1.0, "1", True])
def test_a_bundle_with_a_sequence_that_could_not_be_recorded_is_refused(sequence: object) -> None:
    assert bundle(json.dumps({"spiffe_sequence": sequence, "keys": []}).encode()).codes == {"S-BUNDLE-MALFORMED"}


def test_a_token_over_the_limit_is_not_parsed() -> None:
    assert token(b"x" * (MAX_TOKEN_BYTES + 1)).codes == {"C-SIZE"}


@pytest.mark.parametrize("moment", [True, "soon", -1, 1e30])
def test_an_expiry_that_is_no_moment_is_none(moment: object) -> None:
    assert token(signed(exp=moment)).codes == {"J-EXP-MISSING"}


def test_no_single_flipped_bit_of_a_token_is_admitted() -> None:
    good = signed()
    assert token(good).verdict is Verdict.ADMIT
    for bit in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        assert token(bytes(flipped)).verdict is Verdict.DENY, bit


def test_no_single_flipped_bit_of_an_identity_is_admitted() -> None:
    good = ROOT.leaf(lambda draft: None, WORKLOAD)
    assert verify_x509_svid([good], BUNDLES, RULES, AT).verdict is Verdict.ADMIT
    for bit in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        assert verify_x509_svid([bytes(flipped)], BUNDLES, RULES, AT).verdict is Verdict.DENY, bit


def test_keys_for_a_use_that_is_not_known_are_left_alone() -> None:
    data = json.dumps({"keys": [{"use": "wit-svid", "kty": "EC"}, {"kty": "RSA"}]}).encode()
    assert read_bundle(OWN, data).is_empty


@pytest.mark.parametrize(
    "text", ["spiffe://td", "spiffe://td/a", "spiffe://a-b_c.9/x/Y.z/_-", "spiffe://td/" + "a" * 2000]
)
def test_ids_are_written_as_they_were_read(text: str) -> None:
    assert str(read_id(text)) == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "S-SCHEME"),
        ("SPIFFE://td/a", "S-SCHEME"),
        ("spiffe:td/a", "S-SCHEME"),
        ("spiffe:///a", "S-TD-SYNTAX"),
        ("spiffe://TD/a", "S-TD-SYNTAX"),
        ("spiffe://td:80/a", "S-TD-SYNTAX"),
        ("spiffe://td%2e/a", "S-TD-SYNTAX"),
        (f"spiffe://{'t' * 256}/a", "S-TD-SYNTAX"),
        ("spiffe://td/", "S-ID-SYNTAX"),
        ("spiffe://td/a/", "S-ID-SYNTAX"),
        ("spiffe://td/./a", "S-ID-SYNTAX"),
        ("spiffe://td/../a", "S-ID-SYNTAX"),
        ("spiffe://td/a?b", "S-ID-SYNTAX"),
        ("spiffe://td/a#b", "S-ID-SYNTAX"),
        ("spiffe://td/a%20b", "S-ID-SYNTAX"),
        ("spiffe://td/a\n", "S-ID-SYNTAX"),
        ("spiffe://td/" + "a" * 2040, "S-ID-SYNTAX"),
    ],
)
def test_what_is_no_id_says_why(text: str, code: str) -> None:
    with pytest.raises(BadSpiffeId) as caught:
        read_id(text)
    assert caught.value.code == code


def test_a_pattern_covers_paths_and_not_prefixes() -> None:
    assert is_allowed(SpiffeId("td", "/a/b"), ["spiffe://td/a/*"])
    assert not is_allowed(SpiffeId("td", "/ab"), ["spiffe://td/a/*"])
    assert not is_allowed(SpiffeId("td", "/a"), ["spiffe://td/a/*"])
    assert not is_allowed(SpiffeId("td", "/a"), [])


@pytest.mark.parametrize(
    "data",
    [
        b"[]", b"{", b'{"a": NaN}', b'{"a": 1e400}', b'{"a": 1, "a": 2}', b"\xff", b'{"a": "\\ud800"}',
        b'{"a": ' + b"[" * 50 + b"]" * 50 + b"}", b'{"a": ' + b"[" * 50_000, b'{"a": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_json_of_two_meanings_or_none_is_refused(data: bytes) -> None:
    with pytest.raises(NotJson):
        read_object(data)


@given(st.binary(max_size=64))
def test_base64url_has_one_spelling(data: bytes) -> None:
    text = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    assert b64url(text) == data
    for other in (text + "=", text + " ", text.replace("-", "+")):
        if other != text:
            with pytest.raises(NotJson):
                b64url(other)


def test_a_leeway_is_the_operators_to_give() -> None:
    rules = replace(TOKENS, leeway=timedelta(seconds=1))
    assert verify_jwt_svid(signed(exp=seconds(0)), BUNDLES, rules, AT).verdict is Verdict.ADMIT
