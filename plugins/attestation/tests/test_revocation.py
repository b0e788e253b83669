"""Each code of revocation in a case where only that check fails, and what soft and hard fail make of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from attest.chain import verify_chain
from attest.codes import CODES, GROUPS, Effect
from attest.crls import parse_crl
from attest.limits import MAX_CRL_BYTES, MAX_OCSP_BYTES
from attest.revocation import Collateral
from attest.rules import PROFILES, Revocation, Rules
from attest.search import Anchors
from attest.verdict import Outcome, Result, Verdict
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from pki import AT, DAY, Authority, Draft, key, root, usage

ROOT = root()
BETWEEN = ROOT.authority()
SERIAL = 4242
HARD = replace(PROFILES["private"], peers=("server.example",), revocation=Revocation.HARD)
SOFT = replace(HARD, revocation=Revocation.SOFT)
HIGHER = ROOT.crl()
"""The root's list, which says that the intermediate authority is not revoked."""


def numbered(draft: Draft) -> None:
    draft.serial = SERIAL


LEAF = BETWEEN.leaf(numbered)


def judged(rules: Rules, *lists: bytes, leaf: bytes = LEAF, authority: Authority = BETWEEN, **more: object) -> Outcome:
    collateral = Collateral(crls=(HIGHER, *lists), **more)  # type: ignore[arg-type]
    return verify_chain([leaf, authority.der], Anchors.of([ROOT.der]), rules, AT, collateral)


def with_extension(value: x509.ExtensionType, *, critical: bool = False) -> Callable[..., object]:
    return lambda builder: builder.add_extension(value, critical)


def scope(**values: object) -> x509.IssuingDistributionPoint:
    given = {
        "full_name": None, "relative_name": None, "only_contains_user_certs": False,
        "only_contains_ca_certs": False, "only_some_reasons": None, "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }  # fmt: skip
    return x509.IssuingDistributionPoint(**{**given, **values})  # type: ignore[arg-type]


def crl(*revoked: int, **more: object) -> bytes:
    return BETWEEN.crl(*revoked, **more)  # type: ignore[arg-type]


def a_signer_that_may_not(rules: Rules) -> Outcome:
    authority = ROOT.authority("intermediate", lambda draft: draft.put(usage(key_cert_sign=True), critical=True))
    return judged(rules, authority.crl(), leaf=authority.leaf(numbered), authority=authority)


def a_stranger_of_the_same_name(rules: Rules) -> Outcome:
    """Another authority's certificate with our issuer's name, handed over beside the list that it signed."""
    stranger = root("another").authority("intermediate", private=key("stranger"))
    return judged(rules, stranger.crl(), certificates=(stranger.der,))


STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")


def an_unknown_extension() -> bytes:
    return crl(change=with_extension(STRANGE, critical=True))


def unanswered() -> bytes:
    """What a responder says that is too busy to answer."""
    status = ocsp.OCSPResponseStatus.TRY_LATER
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)


def a_delta_alone() -> bytes:
    return crl(change=with_extension(x509.DeltaCRLIndicator(3), critical=True))


def answer(
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    *,
    about: bytes = LEAF,
    begin: dt.datetime = AT - DAY,
    end: dt.datetime | None = AT + DAY,
    responder: bytes | None = None,
    private: object = None,
    extension: x509.ExtensionType | None = None,
) -> bytes:
    """What the intermediate authority says about a server's certificate."""
    revoked = AT - DAY if status is ocsp.OCSPCertStatus.REVOKED else None
    certificate, issuer = x509.load_der_x509_certificate(about), BETWEEN.view
    builder = ocsp.OCSPResponseBuilder().add_response(certificate, issuer, SHA1(), status, begin, end, revoked, None)
    signer = x509.load_der_x509_certificate(responder) if responder else issuer
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer)
    if responder:
        builder = builder.certificates([signer])
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(private or BETWEEN.private, SHA256()).public_bytes(Encoding.DER)  # type: ignore[arg-type]


def responder(*purposes: x509.ObjectIdentifier) -> bytes:
    def change(draft: Draft) -> None:
        draft.put(x509.ExtendedKeyUsage(purposes or [ExtendedKeyUsageOID.OCSP_SIGNING]))

    return BETWEEN.leaf(change, label="responder")


def by_answer(rules: Rules, der: bytes) -> Outcome:
    """An answer and nothing else about the server's certificate."""
    return judged(rules, answers=(der,))


def spoilt(der: bytes) -> bytes:
    """Flip the last bit, which is the signature's."""
    return der[:-1] + bytes([der[-1] ^ 1])


def a_staple_that_is_missing(rules: Rules) -> Outcome:
    def change(draft: Draft) -> None:
        draft.put(x509.TLSFeature([x509.TLSFeatureType.status_request]))

    return judged(rules, crl(), leaf=BETWEEN.leaf(change))


CASES: dict[str, Callable[[Rules], Outcome]] = {
    "R-REVOKED": lambda rules: judged(rules, crl(SERIAL)),
    "R-CRL-MISSING": judged,
    "R-CRL-PARSE": lambda rules: judged(rules, b"not a list"),
    "R-CRL-SIG": lambda rules: judged(rules, crl(private=key("a stranger"))),
    "R-CRL-ISSUER": a_stranger_of_the_same_name,
    "R-CRL-NO-CRLSIGN": a_signer_that_may_not,
    "R-CRL-STALE": lambda rules: judged(rules, crl(begin=AT - 2 * DAY, end=AT - DAY)),
    "R-CRL-FUTURE": lambda rules: judged(rules, crl(begin=AT + DAY, end=AT + 2 * DAY)),
    "R-CRL-NUMBER": lambda rules: judged(rules, crl(number=None)),
    "R-CRL-ROLLBACK": lambda rules: judged(rules, crl(), numbers={parse_crl(crl()).series: 8}),
    "R-CRL-CRIT-EXT": lambda rules: judged(rules, an_unknown_extension()),
    "R-CRL-SCOPE": lambda rules: judged(
        rules, crl(change=with_extension(scope(only_contains_ca_certs=True), critical=True))
    ),
    "R-CRL-DELTA": lambda rules: judged(rules, a_delta_alone()),
    "R-OCSP-PARSE": lambda rules: by_answer(rules, b"not an answer"),
    "R-OCSP-SIG": lambda rules: by_answer(rules, spoilt(answer())),
    "R-OCSP-RESPONDER": lambda rules: by_answer(
        rules, answer(responder=responder(ExtendedKeyUsageOID.CODE_SIGNING), private=key("responder"))
    ),
    "R-OCSP-CERTID": lambda rules: judged(rules, staple=answer(about=BETWEEN.leaf())),
    "R-OCSP-STALE": lambda rules: by_answer(rules, answer(begin=AT - 2 * DAY, end=AT - DAY)),
    "R-OCSP-FUTURE": lambda rules: by_answer(rules, answer(begin=AT + DAY, end=AT + 2 * DAY)),
    "R-OCSP-UNKNOWN": lambda rules: by_answer(rules, answer(ocsp.OCSPCertStatus.UNKNOWN)),
    "R-OCSP-STAPLE": a_staple_that_is_missing,
    "R-OCSP-STATUS": lambda rules: judged(rules, staple=unanswered()),
    "R-OCSP-CRIT-EXT": lambda rules: by_answer(rules, answer(extension=STRANGE)),
    "R-STAPLE-PARSE": lambda rules: judged(rules, crl(), staple=b"not an answer"),
}


@pytest.mark.parametrize("code", CASES)
def test_only_the_check_that_fails_is_reported(code: str) -> None:
    outcome = CASES[code](HARD)
    assert outcome.codes == {code}, outcome.reasons
    assert outcome.verdict is (Verdict.DENY if CODES[code] is Effect.DENY else Verdict.ERROR)
    assert outcome.retryable is (CODES[code] is Effect.RETRY)


def test_every_code_of_revocation_has_its_case() -> None:
    assert set(GROUPS["Revocation"]) == set(CASES)


def test_a_list_of_the_issuer_is_enough() -> None:
    assert judged(HARD, crl(1, 2, 3)).verdict is Verdict.ADMIT


@pytest.mark.parametrize("form", ["configured", "stapled", "by a responder"])
def test_an_answer_of_the_issuer_is_enough(form: str) -> None:
    given: dict[str, dict[str, Any]] = {
        "configured": {"answers": (answer(),)},
        "stapled": {"staple": answer()},
        "by a responder": {"answers": (answer(responder=responder(), private=key("responder")),)},
    }
    assert judged(HARD, **given[form]).verdict is Verdict.ADMIT


def test_whoever_says_revoked_is_believed() -> None:
    """A list that knows nothing yet does not undo an answer, nor the other way round."""
    assert judged(HARD, crl(), answers=(answer(ocsp.OCSPCertStatus.REVOKED),)).codes == {"R-REVOKED"}
    assert judged(HARD, crl(SERIAL), answers=(answer(),)).codes == {"R-REVOKED"}


def test_a_revoked_authority_is_found_above_a_good_server() -> None:
    collateral = Collateral(crls=(ROOT.crl(BETWEEN.view.serial_number), crl()))
    outcome = verify_chain([LEAF, BETWEEN.der], Anchors.of([ROOT.der]), HARD, AT, collateral)
    assert [(reason.code, reason.path) for reason in outcome.reasons] == [("R-REVOKED", "chain[1]")]


def test_a_delta_list_has_the_last_word() -> None:
    complete = crl(SERIAL, number=7)
    delta = x509.DeltaCRLIndicator(7)
    assert judged(HARD, crl(number=7), crl(SERIAL, number=8, change=with_extension(delta, critical=True))).codes == {
        "R-REVOKED"
    }
    assert judged(HARD, complete, crl(number=8, change=with_extension(delta, critical=True))).codes == {"R-REVOKED"}


@pytest.mark.parametrize("code", sorted(code for code in CASES if CODES[code] is Effect.RETRY))
def test_under_soft_fail_what_is_not_known_is_a_check_that_was_skipped(code: str, timed: None) -> None:
    hard = CASES[code](HARD)
    place = next(reason.path for reason in hard.reasons)
    soft = CASES[code](SOFT)
    skipped = [check for check in soft.checks if check.result is Result.SKIP]
    assert all(check.us for check in skipped), "it was looked for, and that took its time"
    assert soft.verdict is Verdict.ADMIT
    assert [(check.name, check.path, check.why) for check in skipped] == [("revocation", place, f"soft fail: {code}")]


@pytest.mark.parametrize("code", ["R-REVOKED", "R-OCSP-UNKNOWN", "R-OCSP-STAPLE", "R-STAPLE-PARSE"])
def test_soft_fail_forgives_no_bad_news(code: str) -> None:
    assert CASES[code](SOFT).codes == {code}


def test_a_staple_over_the_limit_is_denied_whatever_a_list_says() -> None:
    assert judged(HARD, crl(), staple=answer() + bytes(MAX_OCSP_BYTES)).codes == {"R-STAPLE-PARSE"}


def test_a_list_over_the_limit_is_not_parsed() -> None:
    assert judged(HARD, b"\x30" * (MAX_CRL_BYTES + 1)).codes == {"R-CRL-PARSE"}


def test_an_answer_without_a_next_update_is_no_answer_for_ever() -> None:
    assert by_answer(HARD, answer(end=None)).codes == {"R-OCSP-STALE"}


@pytest.mark.parametrize("kind", ["list", "answer"])
def test_no_flipped_bit_of_collateral_is_believed(kind: str) -> None:
    """What was changed on its way counts for nothing: without it the status is open, and open is no admission."""
    good = crl() if kind == "list" else answer()
    give = judged if kind == "list" else by_answer
    assert give(HARD, good).verdict is Verdict.ADMIT
    for bit in range(0, len(good) * 8, 3):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        assert give(HARD, bytes(flipped)).verdict is not Verdict.ADMIT, bit


def test_bits_left_over_behind_a_signature_are_not_believed() -> None:
    """Nobody signs how many bits of the signature count; with a last bit of 0, one fewer would look the same."""
    good = next(der for der in iter(answer, b"") if der[-1] % 2 == 0)
    at = good.rindex(b"\x03", 0, len(good) - 68)
    assert by_answer(HARD, good).verdict is Verdict.ADMIT and good[at + 2] == 0
    assert by_answer(HARD, good[: at + 2] + b"\x01" + good[at + 3 :]).codes == {"R-OCSP-SIG"}


@pytest.mark.parametrize("is_first", [True, False])
def test_of_two_lists_the_newer_counts_wherever_it_stands(is_first: bool) -> None:
    older, newer = crl(number=7), crl(SERIAL, number=8)
    assert judged(HARD, *((newer, older) if is_first else (older, newer))).codes == {"R-REVOKED"}
    older, newer = crl(SERIAL, number=7), crl(number=8)
    assert judged(HARD, *((newer, older) if is_first else (older, newer))).verdict is Verdict.ADMIT


def test_an_answer_with_a_critical_extension_that_is_not_known_says_nothing() -> None:
    assert judged(HARD, staple=answer(extension=STRANGE)).codes == {"R-OCSP-CRIT-EXT"}
    assert judged(HARD, staple=answer(extension=x509.OCSPNonce(b"12345678"))).verdict is Verdict.ADMIT


@pytest.mark.parametrize("kind", ["staple", "list"])
def test_no_single_flipped_bit_of_an_answer_or_a_list_is_admitted(kind: str) -> None:
    good = answer() if kind == "staple" else crl()

    def tried(data: bytes) -> Outcome:
        return judged(HARD, staple=data) if kind == "staple" else judged(HARD, data)

    assert tried(good).verdict is Verdict.ADMIT
    for bit in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        assert tried(bytes(flipped)).verdict is not Verdict.ADMIT, bit
