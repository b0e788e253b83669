"""Each code of certificate paths in a case where only that check fails, beside the same chain unharmed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from attest.certificates import parse
from attest.chain import verify_chain
from attest.codes import GROUPS
from attest.der import SEQUENCE, element
from attest.keys import load_key
from attest.limits import MAX_CERTIFICATES
from attest.rules import PROFILES, PolicyInputs, Purpose, Rules
from attest.search import Anchors
from attest.verdict import Outcome, Result, Verdict
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA224, SHA384
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from pki import (
    AT,
    DAY,
    Authority,
    Draft,
    authority_draft,
    body,
    key,
    name,
    names,
    replaced,
    root,
    sign_body,
    spki,
    usage,
    with_extensions,
)

ROOT = root()
BETWEEN = ROOT.authority()
PRIVATE = replace(PROFILES["private"], peers=("server.example",))
STRICT = replace(PROFILES["rfc5280"], peers=("server.example",))
WEB = replace(PROFILES["webpki"], peers=("server.example",))

Case = Callable[[], Outcome]


def verdict(leaf: bytes, *above: Authority, rules: Rules = PRIVATE, anchor: Authority = ROOT) -> Outcome:
    return verify_chain([leaf, *(one.der for one in above or (BETWEEN,))], Anchors.of([anchor.der]), rules, AT)


def below(change: Callable[[Draft], None], rules: Rules = PRIVATE, *texts: str) -> Outcome:
    """A changed server's certificate below the untouched authority."""
    return verdict(BETWEEN.leaf(change, *texts), rules=rules)


def under(change: Callable[[Draft], None], rules: Rules = PRIVATE, *texts: str) -> Outcome:
    """An untouched server's certificate below a changed authority."""
    authority = ROOT.authority("intermediate", change)
    return verdict(authority.leaf(lambda draft: None, *texts), authority, rules=rules)


def on_root(change: Callable[[Draft], None], rules: Rules) -> Outcome:
    anchor = root("root", change)
    authority = anchor.authority()
    return verdict(authority.leaf(), authority, rules=rules, anchor=anchor)


def put(value: x509.ExtensionType, *, critical: bool = False) -> Callable[[Draft], None]:
    return lambda draft: draft.put(value, critical=critical)


def drop(oid: x509.ObjectIdentifier) -> Callable[[Draft], None]:
    return lambda draft: draft.drop(oid)


def setting(**values: object) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        for field, value in values.items():
            setattr(draft, field, value)

    return change


def tampered(change: Callable[[bytes], bytes], rules: Rules = PRIVATE) -> Outcome:
    """A server's certificate that no builder makes, signed all the same."""
    return verdict(sign_body(change(body(BETWEEN.leaf())), BETWEEN.private), rules=rules)


def a_flipped_signature() -> Outcome:
    leaf = bytearray(BETWEEN.leaf())
    leaf[-1] ^= 1
    return verdict(bytes(leaf))


def two_algorithms() -> Outcome:
    sha256, sha384 = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040303")
    tbs = replaced(body(BETWEEN.leaf()), sha256, sha384)
    return verdict(sign_body(tbs, BETWEEN.private))


def a_circle() -> Outcome:
    """Two authorities that issue each other's certificates."""
    one = Authority(root("two").issue(drafted("one", root("two"))), key("one"))
    two = Authority(one.issue(drafted("two", one)), key("two"))
    return verdict(one.leaf(), one, two)


def drafted(label: str, issuer: Authority, private: ec.EllipticCurvePrivateKey | None = None) -> Draft:
    return authority_draft(label, issuer, private or key(label), lambda draft: None)


def too_many_ways() -> Outcome:
    """Twenty certificates of one name and key that all sign each other, and no way out."""
    loop = root("loop")
    same = [Authority(loop.issue(_numbered(loop, number)), loop.private) for number in range(20)]
    return verdict(loop.leaf(), *same)


def _numbered(issuer: Authority, number: int) -> Draft:
    draft = drafted("loop", issuer)
    draft.serial = 5000 + number
    return draft


def an_empty_name() -> Outcome:
    authority = ROOT.authority("intermediate", setting(subject=name("")))
    return verdict(authority.leaf(), authority, rules=STRICT)


def constrained(constraints: x509.NameConstraints, *texts: str) -> Outcome:
    return under(put(constraints, critical=True), PRIVATE, *(texts or ("server.example",)))


def dns(*texts: str) -> list[x509.GeneralName]:
    return [x509.DNSName(text) for text in texts]


def only(*texts: str) -> x509.NameConstraints:
    return x509.NameConstraints(dns(*texts), None)


def never(*texts: str) -> x509.NameConstraints:
    return x509.NameConstraints(None, dns(*texts))


def many_names() -> Outcome:
    texts = ["server.example", *(f"s{number}.example" for number in range(299))]
    return constrained(never(*(f"x{number}.example" for number in range(300))), *texts)


def policy(*oids: str) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids])


def a_mapping_from_any() -> Outcome:
    pair = element(SEQUENCE, bytes.fromhex("0604551d2000") + bytes.fromhex("06032a0304"))
    mappings = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.33"), element(SEQUENCE, pair))
    return under(put(mappings, critical=True))


def a_weak_key() -> Outcome:
    weak = rsa.generate_private_key(65537, 1024).public_key()
    return below(setting(public=weak))


def an_explicit_policy() -> Outcome:
    rules = replace(PRIVATE, policies=PolicyInputs(frozenset({"1.2.3"}), explicit=True))
    return below(put(policy("1.2.4")), rules)


def a_path_too_long() -> Outcome:
    first = ROOT.authority("first", put(x509.BasicConstraints(ca=True, path_length=0), critical=True))
    second = first.authority("second")
    return verdict(second.leaf(), second, first)


def not_an_authority() -> Outcome:
    def change(draft: Draft) -> None:
        draft.put(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        draft.drop(ExtensionOID.KEY_USAGE)

    return under(change)


def a_leaf_authority() -> Outcome:
    def change(draft: Draft) -> None:
        draft.put(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        draft.put(x509.SubjectKeyIdentifier(b"12345678"))

    return below(change)


ANY_USE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
OTHER_USE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
BROKEN_ACCESS = x509.UnrecognizedExtension(ExtensionOID.AUTHORITY_INFORMATION_ACCESS, b"garbage")
BROKEN_CONSTRAINTS = x509.UnrecognizedExtension(ExtensionOID.NAME_CONSTRAINTS, b"\x30\x00")
REGISTERED = x509.NameConstraints([x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))], None)


def registered_identifiers() -> Outcome:
    authority = ROOT.authority("intermediate", put(REGISTERED, critical=True))
    identifier = x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4"))
    alternative = x509.SubjectAlternativeName([x509.DNSName("server.example"), identifier])
    return verdict(authority.leaf(put(alternative)), authority)


def one_malformed_name() -> Outcome:
    return below(put(x509.SubjectAlternativeName([*dns("server.example", "-bad-.example")])))


CASES: dict[str, Case] = {
    "C-SIZE": lambda: verify_chain([b"x"] * (MAX_CERTIFICATES + 1), Anchors.of([ROOT.der]), PRIVATE, AT),
    "C-PARSE": lambda: verdict(b"not a certificate"),
    "X-ANCHOR-UNKNOWN": lambda: verdict(BETWEEN.leaf(), anchor=root("another")),
    "X-NO-PATH": a_circle,
    "X-SEARCH-LIMIT": too_many_ways,
    "X-DEPTH": lambda: verdict(BETWEEN.leaf(), rules=replace(PRIVATE, max_depth=0)),
    "X-SIG": a_flipped_signature,
    "X-SIGALG-MISMATCH": two_algorithms,
    "X-ISSUER-NAME": lambda: below(setting(issuer=name("somebody else"))),
    "X-NAME-EMPTY": an_empty_name,
    "X-NOT-YET-VALID": lambda: below(setting(begin=AT + DAY)),
    "X-EXPIRED": lambda: below(setting(begin=AT - 2 * DAY, end=AT - DAY)),
    "X-VERSION": lambda: tampered(lambda tbs: replaced(tbs, bytes.fromhex("a003020102"), bytes.fromhex("a003020101"))),
    "X-SERIAL": lambda: tampered(lambda tbs: replaced(tbs, b"\x02\x02\x03\xec", b"\x02\x02\x83\xec")),
    "X-DUP-EXT": lambda: tampered(lambda tbs: with_extensions(tbs, lambda found: [*found, found[-1]])),
    "X-EXT-MALFORMED": lambda: below(put(BROKEN_ACCESS)),
    "X-CRIT-UNKNOWN": lambda: below(put(STRANGE, critical=True)),
    "X-CRITICALITY": lambda: under(put(x509.SubjectKeyIdentifier(b"12345678"), critical=True)),
    "X-CA-FLAG": not_an_authority,
    "X-LEAF-IS-CA": a_leaf_authority,
    "X-PATHLEN": a_path_too_long,
    "X-KU-CERTSIGN": lambda: under(put(usage(crl_sign=True), critical=True)),
    "X-KU-NOT-CA": lambda: below(put(usage(digital_signature=True, key_cert_sign=True), critical=True)),
    "X-KU-DIGSIG": lambda: below(put(usage(key_encipherment=True), critical=True)),
    "X-EKU-MISSING": lambda: below(drop(ExtensionOID.EXTENDED_KEY_USAGE), replace(WEB, strength=PRIVATE.strength)),
    "X-EKU-WRONG": lambda: below(put(OTHER_USE)),
    "X-EKU-ANY": lambda: below(put(ANY_USE), WEB),
    "X-EKU-ON-ROOT": lambda: on_root(put(ANY_USE), WEB),
    "X-AKI": lambda: below(drop(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)),
    "X-SKI": lambda: under(drop(ExtensionOID.SUBJECT_KEY_IDENTIFIER)),
    "X-SAN-MISSING": lambda: below(drop(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)),
    "X-SAN-MALFORMED": one_malformed_name,
    "X-SAN-MISMATCH": lambda: below(lambda draft: None, PRIVATE, "other.example"),
    "X-SAN-NOT-ALLOWED": lambda: below(lambda draft: None, replace(PRIVATE, allowed_names=("*.corp.example",))),
    "X-WILDCARD": lambda: below(put(names("server.example", "ser*.example"))),
    "X-PUBLIC-SUFFIX": lambda: below(put(names("server.example", "*.co.uk")), WEB),
    "X-CN-NOT-IN-SAN": lambda: below(lambda draft: None, replace(PROFILES["vendor-roots"], peers=("server.example",))),
    "X-NC-PERMITTED": lambda: constrained(only("corp.example")),
    "X-NC-EXCLUDED": lambda: constrained(never("example")),
    "X-NC-MALFORMED": lambda: under(put(BROKEN_CONSTRAINTS, critical=True)),
    "X-NC-UNSUPPORTED": registered_identifiers,
    "X-NC-ON-LEAF": lambda: below(put(only("example"), critical=True)),
    "X-NC-DOS": many_names,
    "X-POLICY-CONSTRAINT": an_explicit_policy,
    "X-POLICY-MAPPING": a_mapping_from_any,
    "X-ALG-WEAK": lambda: verdict(BETWEEN.leaf(digest=SHA224())),
    "X-KEY-WEAK": a_weak_key,
    "X-SPKI-PIN": lambda: below(lambda draft: None, replace(PRIVATE, pins=frozenset({"00" * 32}))),
}


def test_an_unharmed_chain_is_admitted_under_every_profile() -> None:
    leaf = BETWEEN.leaf(setting(subject=name("server.example")))
    for profile in PROFILES.values():
        outcome = verdict(leaf, rules=replace(profile, peers=("server.example",)))
        assert outcome.verdict is Verdict.ADMIT, outcome.reasons


@pytest.mark.parametrize("code", CASES)
def test_only_the_check_that_fails_is_reported(code: str) -> None:
    outcome = CASES[code]()
    assert outcome.codes == {code}, outcome.reasons
    assert outcome.verdict is Verdict.DENY


def test_every_code_of_paths_has_its_case() -> None:
    assert set(GROUPS["Certificate paths"]) <= set(CASES)


def test_reasons_say_where_and_what() -> None:
    (reason,) = CASES["X-EXPIRED"]().reasons
    assert (reason.path, reason.actual) == ("chain[0]", AT.isoformat())
    assert (AT - DAY).isoformat() in reason.expected


def test_all_checks_that_can_run_do_run_and_all_reasons_are_told() -> None:
    outcome = below(setting(begin=AT - 2 * DAY, end=AT - DAY), PRIVATE, "other.example")
    assert outcome.codes == {"X-EXPIRED", "X-SAN-MISMATCH"}


def test_what_a_stranger_signed_is_not_read() -> None:
    """The server's certificate is expired too, but nobody we trust said so."""
    authority = Authority(BETWEEN.der, key("a stranger"))
    outcome = verdict(authority.leaf(setting(begin=AT - 2 * DAY, end=AT - DAY)))
    assert outcome.codes == {"X-SIG"}
    skipped = {
        check.name: check.why for check in outcome.checks if check.path == "chain[0]" and check.result is Result.SKIP
    }
    assert skipped.keys() >= {"validity", "identity", "purpose", "name-constraints", "policies"}
    assert set(skipped.values()) == {"unauthenticated"}


def test_an_expired_authority_hides_nothing_below_it() -> None:
    authority = ROOT.authority("intermediate", setting(begin=AT - 2 * DAY, end=AT - DAY))
    outcome = verdict(authority.leaf(lambda draft: None, "other.example"), authority)
    assert {(reason.code, reason.path) for reason in outcome.reasons} == {
        ("X-EXPIRED", "chain[1]"),
        ("X-SAN-MISMATCH", "chain[0]"),
    }


def test_another_way_to_an_anchor_is_found_when_the_first_is_expired() -> None:
    expired = ROOT.authority("intermediate", setting(begin=AT - 2 * DAY, end=AT - DAY, serial=77))
    outcome = verify_chain([BETWEEN.leaf(), expired.der, BETWEEN.der], Anchors.of([ROOT.der]), PRIVATE, AT)
    assert outcome.verdict is Verdict.ADMIT


def test_validity_includes_both_ends() -> None:
    for moment in (AT - DAY, AT + 30 * DAY):
        chain = [BETWEEN.leaf(), BETWEEN.der]
        assert verify_chain(chain, Anchors.of([ROOT.der]), PRIVATE, moment).verdict is Verdict.ADMIT


def test_a_wildcard_is_excluded_as_soon_as_one_of_its_names_is() -> None:
    assert constrained(never("bad.example"), "server.example", "*.example").codes == {"X-NC-EXCLUDED"}


def test_a_client_certificate_is_held_to_its_own_purpose() -> None:
    server_only = put(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))
    assert below(server_only, replace(PRIVATE, purpose=Purpose.CLIENT)).codes == {"X-EKU-WRONG"}


def test_claims_are_those_of_what_was_admitted() -> None:
    outcome = verdict(BETWEEN.leaf())
    assert outcome.claims["names"] == ("server.example",)
    assert outcome.claims["spki"] == parse(BETWEEN.leaf()).spki_digest
    assert CASES["X-EXPIRED"]().claims == {}


def test_a_curve_that_is_written_out_is_no_key() -> None:
    named = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    explicit = bytes.fromhex("300d06072a8648ce3d02013002 0500".replace(" ", ""))
    own = spki(key("leaf"))
    assert load_key(own) is not None
    assert load_key(element(SEQUENCE, explicit + own[2 + len(named) :])) is None


@pytest.mark.parametrize("where", ["leaf", "intermediate"])
def test_no_single_flipped_bit_is_admitted(where: str) -> None:
    chain = [BETWEEN.leaf(), BETWEEN.der]
    anchors = Anchors.of([ROOT.der])
    assert verify_chain(chain, anchors, PRIVATE, AT).verdict is Verdict.ADMIT
    place = ["leaf", "intermediate"].index(where)
    for bit in range(len(chain[place]) * 8):
        flipped = bytearray(chain[place])
        flipped[bit // 8] ^= 1 << bit % 8
        changed = [*chain[:place], bytes(flipped), *chain[place + 1 :]]
        outcome = verify_chain(changed, anchors, PRIVATE, AT)
        assert outcome.verdict is Verdict.DENY, f"bit {bit} of the {where}"
        assert "C-VERIFIER-FAULT" not in outcome.codes


def test_other_algorithms_than_p256_are_verified() -> None:
    private = ec.generate_private_key(ec.SECP384R1())
    authority = Authority(ROOT.issue(drafted("large", ROOT, private)), private)
    assert verdict(authority.leaf(digest=SHA384()), authority).verdict is Verdict.ADMIT


def test_a_trusted_certificate_that_is_no_authoritys_speaks_for_itself_alone() -> None:
    """A server's self-signed certificate as an anchor: good for that server, and no way to name others."""

    def own(draft: Draft) -> None:
        draft.put(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        draft.put(usage(digital_signature=True), critical=True)
        draft.put(names("server.example"))

    trusted = root("self", own)
    itself = verify_chain([trusted.der], Anchors.of([trusted.der]), PRIVATE, AT)
    assert itself.verdict is Verdict.ADMIT, itself.reasons
    issued = verify_chain([trusted.leaf()], Anchors.of([trusted.der]), PRIVATE, AT)
    assert issued.codes == {"X-CA-FLAG", "X-KU-CERTSIGN"}


@pytest.mark.parametrize("content", ["", "0500", "30020500", "300430020600", "300a30080602888806022a03"])
@pytest.mark.parametrize("where", [under, below], ids=["authority", "leaf"])
def test_policy_mappings_that_are_none_are_told(where: Callable[..., Outcome], content: str) -> None:
    """The library does not read them, and the authority's are acted upon."""
    mappings = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.33"), bytes.fromhex(content))
    assert where(put(mappings)).codes == {"X-EXT-MALFORMED"}


def test_a_kind_of_name_that_the_library_does_not_read_is_refused_by_name() -> None:
    """An ediPartyName ([5]) beside the server's name."""
    party = bytes.fromhex("a506a1040c027878")
    listing = element(SEQUENCE, bytes.fromhex("820e") + b"server.example" + party)
    strange = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, listing)
    assert below(put(strange)).codes == {"X-SAN-MALFORMED"}
