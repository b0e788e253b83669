"""A million hostile inputs: `python tests/mutants.py 1000000 [SEED]`. None may be admitted, raise, or take long.

Half are bytes changed at random. Half are structural: well formed, signed again by the right key, and wrong in one
thing that a rule forbids. What they are made from is admitted first, under the same rules and clock.
"""

from __future__ import annotations

import base64
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from attest.chain import verify_chain
from attest.jwtsvid import verify_jwt_svid
from attest.limits import MAX_CERTIFICATES
from attest.search import Anchors
from attest.verdict import Outcome, Verdict
from attest.x509svid import verify_x509_svid
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from pki import AT, DAY, Authority, Draft, body, key, name, names, sign_body, usage, with_extensions
from test_chain import BETWEEN, PRIVATE, ROOT
from test_revocation import HARD, answer, crl, judged
from test_spiffe import BUNDLES, OWN, RULES, TOKEN_KEY, TOKENS, WORKLOAD
from test_spiffe import ROOT as SPIFFE_ROOT

LONGEST_SECONDS = 0.25
"""CPU that any input may take."""

ANCHORS = Anchors.of([ROOT.der])
CHAIN = [BETWEEN.leaf(), BETWEEN.der]
SVID = SPIFFE_ROOT.leaf(lambda draft: None, WORKLOAD)
SVID_BETWEEN = SPIFFE_ROOT.authority("between")
SVID_CHAIN = [SVID_BETWEEN.leaf(lambda draft: None, WORKLOAD), SVID_BETWEEN.der]
STRANGERS = [key(f"stranger {number}") for number in range(8)]
FLAGS = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")

STAPLE, LIST = answer(), crl()
READ = (
    ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.NAME_CONSTRAINTS, ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.POLICY_CONSTRAINTS, ExtensionOID.INHIBIT_ANY_POLICY, ExtensionOID.CRL_DISTRIBUTION_POINTS,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.SUBJECT_KEY_IDENTIFIER, ExtensionOID.TLS_FEATURE,
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS, ExtensionOID.FRESHEST_CRL, ExtensionOID.ISSUER_ALTERNATIVE_NAME,
    x509.ObjectIdentifier("2.5.29.33"),
)  # fmt: skip
"""Extensions whose content is read, here or in the library."""

Mutant = Callable[[random.Random], Outcome]
LeafChange = Callable[[Draft, random.Random], None]


def chain(certificates: Sequence[bytes]) -> Outcome:
    return verify_chain(certificates, ANCHORS, PRIVATE, AT)


def svid(certificates: Sequence[bytes]) -> Outcome:
    return verify_x509_svid(certificates, BUNDLES, RULES, AT)


def token(data: bytes) -> Outcome:
    return verify_jwt_svid(data, BUNDLES, TOKENS, AT)


def scrambled(data: bytes, chance: random.Random) -> bytes:
    """Change, drop, repeat or insert a few bytes; never nothing."""
    while True:
        made = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(made))
            match chance.randrange(5):
                case 0:
                    made[place] ^= 1 << chance.randrange(8)
                case 1:
                    made[place] = chance.randrange(256)
                case 2:
                    del made[place : place + chance.randint(1, 8)]
                case 3:
                    made[place:place] = chance.randbytes(chance.randint(1, 8))
                case _:
                    other = chance.randrange(len(made))
                    made[place : place + 8] = made[other : other + 8]
        if bytes(made) != data and made:
            return bytes(made)


def bytes_of_chain(chance: random.Random) -> Outcome:
    place = chance.randrange(2)
    return chain([scrambled(der, chance) if number == place else der for number, der in enumerate(CHAIN)])


def bytes_of_svid(chance: random.Random) -> Outcome:
    if chance.random() < 0.5:
        return svid([scrambled(SVID, chance)])
    place = chance.randrange(2)
    return svid([scrambled(der, chance) if number == place else der for number, der in enumerate(SVID_CHAIN)])


def bytes_of_token(chance: random.Random) -> Outcome:
    return token(scrambled(good_token(), chance))


def bytes_of_staple(chance: random.Random) -> Outcome:
    return judged(HARD, staple=scrambled(STAPLE, chance))


def bytes_of_list(chance: random.Random) -> Outcome:
    return judged(HARD, scrambled(LIST, chance))


def seconds(chance: random.Random) -> timedelta:
    return timedelta(seconds=chance.randint(1, 10 ** chance.randint(1, 8)))


def is_over(draft: Draft, chance: random.Random) -> None:
    draft.end = AT - seconds(chance)
    draft.begin = draft.end - DAY


def has_not_begun(draft: Draft, chance: random.Random) -> None:
    draft.begin = AT + seconds(chance)
    draft.end = draft.begin + DAY


def names_another(draft: Draft, chance: random.Random) -> None:
    texts = ("server.example.net", "xserver.example", "example", "*.server.example", "a.server.example", "10.0.0.1")
    draft.put(names(*chance.sample(texts, chance.randint(1, 4))))


def has_no_name(draft: Draft, _: random.Random) -> None:
    draft.drop(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)


def is_for_another_purpose(draft: Draft, chance: random.Random) -> None:
    purposes = (
        ExtendedKeyUsageOID.CODE_SIGNING,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ExtendedKeyUsageOID.OCSP_SIGNING,
    )
    draft.put(x509.ExtendedKeyUsage(chance.sample(purposes, chance.randint(1, 3))))


def has_a_strange_critical_extension(draft: Draft, chance: random.Random) -> None:
    oid = x509.ObjectIdentifier(f"1.3.6.1.4.1.{chance.randint(1, 10**6)}.{chance.randint(0, 10**6)}")
    draft.put(x509.UnrecognizedExtension(oid, chance.randbytes(chance.randint(0, 40))), critical=True)


def is_an_authority(draft: Draft, chance: random.Random) -> None:
    draft.put(x509.BasicConstraints(True, chance.choice((None, 0, 1, 9))), critical=True)
    draft.put(x509.SubjectKeyIdentifier(chance.randbytes(20)))


def may_not_sign(draft: Draft, chance: random.Random) -> None:
    draft.put(usage(**dict.fromkeys(chance.sample(FLAGS, chance.randint(1, 3)), True)), critical=chance.random() < 0.5)


def may_sign_certificates(draft: Draft, chance: random.Random) -> None:
    draft.put(usage(digital_signature=True, key_cert_sign=True), critical=chance.random() < 0.5)


def has_an_extension_that_is_none(draft: Draft, chance: random.Random) -> None:
    kinds = (
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE, ExtensionOID.NAME_CONSTRAINTS, ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    )  # fmt: skip
    oid = chance.choice(kinds)
    draft.put(x509.UnrecognizedExtension(oid, b"\x1f\xff" + chance.randbytes(chance.randint(0, 40))))


def names_another_issuer(draft: Draft, chance: random.Random) -> None:
    draft.issuer = name(f"authority {chance.randint(0, 10**6)}")


def has_constraints(draft: Draft, chance: random.Random) -> None:
    draft.put(x509.NameConstraints([x509.DNSName("example")], None), critical=chance.random() < 0.5)


LEAVES: tuple[LeafChange, ...] = (
    is_over, has_not_begun, names_another, has_no_name, is_for_another_purpose, has_a_strange_critical_extension,
    is_an_authority, may_not_sign, may_sign_certificates, has_an_extension_that_is_none, names_another_issuer,
    has_constraints,
)  # fmt: skip


def structural_leaf(chance: random.Random) -> Outcome:
    """One or two things wrong with the server's certificate, which the right authority has signed."""

    def change(draft: Draft) -> None:
        for one in chance.sample(LEAVES, chance.randint(1, 2)):
            one(draft, chance)
        # Two changes can undo each other: a certificate that names nobody is wrong whatever else it is.
        if chance.random() < 0.1:
            draft.put(names("nobody.example"))

    return chain([BETWEEN.leaf(change), BETWEEN.der])


def structural_authority(chance: random.Random) -> Outcome:
    """One thing wrong with the authority between, which the root has signed."""

    def change(draft: Draft) -> None:
        match chance.randrange(6):
            case 0:
                is_over(draft, chance)
            case 1:
                draft.put(x509.BasicConstraints(False, None), critical=True)
                draft.drop(ExtensionOID.KEY_USAGE)
            case 2:
                draft.put(usage(**dict.fromkeys(chance.sample(FLAGS, 2), True)), critical=True)
            case 3:
                excluded = chance.choice(("example", "server.example", ""))
                draft.put(x509.NameConstraints(None, [x509.DNSName(excluded)]), critical=True)
            case 4:
                permitted = chance.choice(("corp.example", "ample", "xserver.example", "net"))
                draft.put(x509.NameConstraints([x509.DNSName(permitted)], None), critical=True)
            case _:
                has_a_strange_critical_extension(draft, chance)

    authority = ROOT.authority("intermediate", change)
    return chain([authority.leaf(), authority.der])


def a_garbled_extension(chance: random.Random) -> Outcome:
    """An extension that is known and holds something else, on either certificate, signed by its right issuer."""
    cut = bytes.fromhex("30820100") + chance.randbytes(chance.randint(0, 40))
    value = x509.UnrecognizedExtension(chance.choice(READ), chance.choice((b"", b"\x05\x00", cut)))
    critical = chance.random() < 0.5

    def change(draft: Draft) -> None:
        draft.put(value, critical=critical)

    if chance.random() < 0.5:
        return chain([BETWEEN.leaf(change), BETWEEN.der])
    authority = ROOT.authority("intermediate", change)
    return chain([authority.leaf(), authority.der])


def another_signer(chance: random.Random) -> Outcome:
    stranger = Authority(BETWEEN.der, chance.choice(STRANGERS))
    return chain([stranger.leaf(), BETWEEN.der])


def a_body_no_builder_makes(chance: random.Random) -> Outcome:
    """An extension twice, or the last one cut, signed all the same."""

    def change(found: list[bytes]) -> list[bytes]:
        if chance.random() < 0.5:
            return [*found, chance.choice(found)]
        return [*found[:-1], found[-1][: chance.randrange(2, len(found[-1]))]]

    return chain([sign_body(with_extensions(body(CHAIN[0]), change), BETWEEN.private), BETWEEN.der])


def a_chain_of_another_form(chance: random.Random) -> Outcome:
    match chance.randrange(4):
        case 0:
            return chain([])
        case 1:
            return chain(CHAIN[:1])
        case 2:
            return chain([CHAIN[0]] * chance.randint(2, MAX_CERTIFICATES))
        case _:
            return chain([CHAIN[1], CHAIN[0]])


def structural_svid(chance: random.Random) -> Outcome:
    texts = (
        f"spiffe://{OWN}", f"spiffe://{OWN}/other/api", "spiffe://else.example/billing/api",
        f"spiffe://{OWN}/billing/../api", f"spiffe://{OWN.upper()}/billing/api", f"https://{OWN}/billing/api",
        f"spiffe://{OWN}:443/billing/api", f"spiffe://x@{OWN}/billing/api", f"spiffe://{OWN}/billing/api?a",
    )  # fmt: skip
    if chance.random() < 0.5:
        return svid([SPIFFE_ROOT.leaf(lambda draft: None, chance.choice(texts))])
    wrong = (is_over, has_not_begun, is_an_authority, may_not_sign, may_sign_certificates, is_for_another_purpose)
    return svid([SPIFFE_ROOT.leaf(lambda draft: chance.choice(wrong)(draft, chance), WORKLOAD)])


def good_token(header: Mapping[str, object] | None = None, claims: Mapping[str, object] | None = None) -> bytes:
    members = {"sub": WORKLOAD, "aud": ["gateway"], "exp": int(AT.timestamp()) + 300, **(claims or {})}
    protected = {"alg": "ES256", "kid": "k1", **(header or {})}
    signed = b".".join(_text(json.dumps(part).encode()) for part in (protected, members))
    r, s = decode_dss_signature(_private().sign(signed, ec.ECDSA(SHA256())))
    return signed + b"." + _text(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def _private() -> ec.EllipticCurvePrivateKey:
    private = TOKEN_KEY.private_key
    assert private is not None
    return private


def _text(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def structural_token(chance: random.Random) -> Outcome:
    now, far = int(AT.timestamp()), 10 ** chance.randint(1, 8)
    claims: list[dict[str, object]] = [
        {"exp": now - chance.randint(0, far)}, {"exp": str(now + 300)}, {"exp": None}, {"exp": [now + 300]},
        {"aud": f"gateway{far}"}, {"aud": []}, {"aud": None}, {"aud": ["gateway", far]}, {"nbf": now + far},
        {"sub": f"spiffe://{OWN}/other/{far}"}, {"sub": f"spiffe://{OWN}"}, {"sub": far}, {"nbf": "now"},
        {"sub": f"spiffe://else{far}.example/billing/api"}, {"exp": True},
    ]  # fmt: skip
    headers: list[dict[str, object]] = [
        {"kid": f"k{far}"}, {"typ": f"x{far}"}, {"jku": f"https://{far}.example"}, {"x5c": ["AA"]}, {"jwk": {}},
        {"kid": far}, {"cty": "JWT"},
    ]  # fmt: skip
    if chance.random() < 0.7:
        return token(good_token(claims=chance.choice(claims)))
    return token(good_token(chance.choice(headers)))


def another_spelling(chance: random.Random) -> Outcome:
    """The same token written in another way."""
    header, claims, signature = good_token().split(b".")
    match chance.randrange(4):
        case 0:
            return token(b".".join([header + b"=", claims, signature]))
        case 1:
            return token(b".".join([header, claims, signature]) + chance.choice((b"\n", b" ", b".", b"~")))
        case 2:
            plain = base64.urlsafe_b64decode(claims + b"=" * (-len(claims) % 4))
            return token(b".".join([header, base64.urlsafe_b64encode(b" " + plain).rstrip(b"="), signature]))
        case _:
            return token(json.dumps({"payload": claims.decode(), "signature": signature.decode()}).encode())


BYTES: tuple[Mutant, ...] = (bytes_of_chain, bytes_of_svid, bytes_of_token, bytes_of_staple, bytes_of_list)
STRUCTURAL: tuple[Mutant, ...] = (
    structural_leaf, structural_leaf, structural_authority, a_garbled_extension, another_signer,
    a_body_no_builder_makes, a_chain_of_another_form, structural_svid, structural_token, another_spelling,
)  # fmt: skip


def hunt(count: int, seed: int) -> tuple[Counter[str], list[str], float]:
    """Try `count` mutants; return how often each code came, what went wrong, and the longest CPU time of one."""
    good = [chain(CHAIN), svid([SVID]), svid(SVID_CHAIN), token(good_token())]
    good += [judged(HARD, staple=STAPLE), judged(HARD, LIST)]
    assert all(outcome.verdict is Verdict.ADMIT for outcome in good)
    chance, codes, wrong, longest = random.Random(seed), Counter[str](), list[str](), 0.0
    for number in range(count):
        mutant = chance.choice((BYTES, STRUCTURAL)[number % 2])
        begun = time.process_time()
        outcome = mutant(chance)
        took = time.process_time() - begun
        longest = max(longest, took)
        codes.update(outcome.codes)
        if outcome.verdict is Verdict.ADMIT or took > LONGEST_SECONDS:
            wrong.append(f"{mutant.__name__} number {number}: {outcome.verdict.value} after {took:.3f} s")
    return codes, wrong, longest


def main() -> int:
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    codes, wrong, longest = hunt(count, seed)
    print(f"{count} mutants, {len(wrong)} wrong, the longest took {longest * 1000:.1f} ms of CPU")
    print(", ".join(f"{code} {times}" for code, times in codes.most_common()))
    print("\n".join(wrong[:20]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
