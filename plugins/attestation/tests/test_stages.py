"""The stages against real TLS servers on loopback: who is admitted, and what is said about the others."""

from __future__ import annotations

import base64
import datetime as dt
import json
import socket
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from typing import Any

import attestation
import pytest
from attest.addresses import is_permitted, read_networks
from attest.audit import read_line
from attest.binding import audience, binding
from attest.codes import GROUPS
from attest.urls import read_url
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from joserfc import jws
from joserfc.jwk import ECKey
from msgspec import structs
from OpenSSL import SSL
from penstock_plugin import testing
from pki import DAY, Authority, Draft, key, root, spki
from servers import Shown, garbled, misbehaving, pem, serving
from world.admissions import Admissions
from world.auditlog import AuditLog
from world.challenge import Challenger
from world.connector import NotDialled, to_try
from world.settings import read_settings

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
OWN = "prod.example"
WORKLOAD = f"spiffe://{OWN}/billing/api"
TOKEN_KEY = ECKey.generate_key("P-256", {"kid": "k1"})
"""The stages read the real clock, so what is made here is good now."""


def now(change: Callable[[Draft], None] = lambda draft: None) -> Callable[[Draft], None]:
    def made(draft: Draft) -> None:
        draft.begin, draft.end = NOW - DAY, NOW + 30 * DAY
        change(draft)

    return made


ROOT = root("root now", now())
BETWEEN = ROOT.authority("between now", now())
FAR = root("another root", now())
CLIENT = BETWEEN.leaf(now(), "gateway.example", label="gateway")


def leaf(change: Callable[[Draft], None] = lambda draft: None, *names: str, by: Authority = BETWEEN) -> bytes:
    return by.leaf(now(change), *(names or ("127.0.0.1",)))


def shown(certificate: bytes | None = None, *, by: Authority = BETWEEN, **more: Any) -> Shown:
    return Shown((certificate or leaf(by=by), by.der), more.pop("private", key("leaf")), **more)


def lists(*revoked: int) -> list[str]:
    made = (ROOT.crl(begin=NOW - DAY, end=NOW + DAY), BETWEEN.crl(*revoked, begin=NOW - DAY, end=NOW + DAY))
    return [x509.load_der_x509_crl(der).public_bytes(Encoding.PEM).decode() for der in made]


def bundle() -> dict[str, Any]:
    listed = [
        {"use": "x509-svid", "kty": "EC", "x5c": [base64.b64encode(ROOT.der).decode()]},
        {**TOKEN_KEY.as_dict(private=False), "use": "jwt-svid"},
    ]
    return {"spiffe_sequence": 1, "keys": listed}


def config(
    port: int, identity: Mapping[str, Any], evidence: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    match = f"https://127.0.0.1:{port}/*" if identity["kind"] == "tls" else f"spiffe://{OWN}/*"
    rule = {"name": "server", "match": match, "identity": dict(identity)}
    if evidence:
        rule["evidence"] = dict(evidence)
    return {
        "policy": {"version": 1, "servers": [rule]},
        "anchors": {"own": pem(ROOT.der)},
        "bundles": {OWN: bundle()},
        "crls": lists(),
        "networks": ["127.0.0.0/8"],
        "ports": [port],
        "seconds": 30,
        **more,
    }


TLS: dict[str, Any] = {"kind": "tls", "anchors": ["own"], "revocation": "hard"}
SVID: dict[str, Any] = {"kind": "x509-svid", "allowed": [f"spiffe://{OWN}/billing/*"], "revocation": "off"}
EVIDENCE: dict[str, Any] = {"require": ["jwt-svid"], "allowed": [f"spiffe://{OWN}/billing/*"]}


@pytest.fixture
def serve(loopback: None) -> Iterator[Callable[[Shown], int]]:
    with ExitStack() as stack:
        yield lambda shown: stack.enter_context(serving(shown))


_folder: list[Path] = []


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> Path:
    """The plugin's directory, of each test's own."""
    _folder[:] = [tmp_path]
    return tmp_path


def stage(
    name: str,
    port: int,
    settings: dict[str, Any],
    data: Path | None = None,
    payload: Mapping[str, Any] | None = None,
    clock: Callable[[], dt.datetime] | None = None,
    **given: Any,
) -> testing.Outcome:
    url = {"name": "server", "url": f"https://127.0.0.1:{port}/mcp", **(payload or {})}
    secrets = {"client_key": private_pem()}
    plugin = attestation.plugin if clock is None else attestation.plugin_with(clock)
    return testing.call(
        plugin, name, payload=url, hook="server_pre_register", config=settings, input=given,
        data=data or _folder[0], secrets=secrets,
    )  # fmt: skip


def private_pem() -> str:
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    return key("gateway").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def admission(port: int, settings: dict[str, Any], data: Path | None = None, **more: Any) -> testing.Outcome:
    """All three stages in a row, as a pipeline has them."""
    who = stage("identity", port, settings, data, **more)
    fresh = stage("challenge", port, settings, data, identity=who.out["result"], **more) if data else None
    evidence = fresh.out["result"] if fresh else {}
    return stage("appraise", port, settings, data, identity=who.out["result"], evidence=evidence, **more)


def codes(outcome: testing.Outcome) -> set[str]:
    return set(outcome.out["codes"])


def attester(private: ECKey = TOKEN_KEY, own: bytes = spki(key("leaf"))) -> Callable[[bytes, bytes], bytes]:
    """The reference attester's answer: a token for this very challenge and this very key."""

    def answer(nonce: bytes, context: bytes) -> bytes:
        claims = {"sub": WORKLOAD, "aud": [audience(binding(nonce, context, own))], "exp": int(NOW.timestamp()) + 300}
        token = jws.serialize_compact({"alg": "ES256", "kid": "k1"}, json.dumps(claims).encode(), private)
        return json.dumps(
            {"kind": "jwt-svid", "evidence": base64.urlsafe_b64encode(token.encode()).rstrip(b"=").decode()}
        ).encode()

    return answer


def test_a_good_server_is_admitted_by_appraise_alone(serve: Callable[[Shown], int]) -> None:
    port = serve(shown())
    settings = config(port, TLS)
    who = stage("identity", port, settings)
    assert who.denied and who.violation is not None and who.violation.code == "attestation.undecided"
    assert who.out["verdict"] == "admit" and who.out["result"]["pop"] is True
    decided = admission(port, settings)
    assert not decided.denied and decided.out["verdict"] == "admit" and decided.out["rule"] == "server"


def expired(draft: Draft) -> None:
    draft.end = NOW - dt.timedelta(hours=1)


def serial(draft: Draft) -> None:
    draft.serial = 77


def client_only(draft: Draft) -> None:
    draft.put(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]))


REFUSED: dict[str, tuple[Callable[[], Shown], dict[str, Any], dict[str, Any]]] = {
    "X-EXPIRED": (lambda: shown(leaf(expired)), TLS, {}),
    "X-SAN-MISMATCH": (lambda: shown(leaf(lambda draft: None, "other.example")), TLS, {}),
    "R-REVOKED": (lambda: shown(leaf(serial)), TLS, {"crls": lists(77)}),
    "R-CRL-MISSING": (shown, TLS, {"crls": lists()[:1]}),
    "X-ANCHOR-UNKNOWN": (lambda: shown(by=FAR.authority("between now", now())), TLS, {}),
    "X-EKU-WRONG": (lambda: shown(leaf(client_only)), TLS, {}),
    "X-SPKI-PIN": (shown, {**TLS, "pins": ["00" * 32]}, {}),
    "N-UNREACHABLE": (lambda: shown(newest=SSL.TLS1_2_VERSION), TLS, {}),
    "N-ADDRESS": (shown, TLS, {"networks": []}),
    "U-PORT": (shown, TLS, {"ports": [443]}),
    "M-NO-CERTIFICATE-ASKED": (shown, {**TLS, "client-certificate": "demand"}, {"client_certificate": pem(CLIENT)}),
    "M-CLIENT-CERTIFICATE": (shown, {**TLS, "client-certificate": "offer"}, {}),
    "S-NOT-ALLOWED": (lambda: shown(leaf(lambda draft: None, f"spiffe://{OWN}/other")), SVID, {}),
    "S-TD-NO-BUNDLE": (lambda: shown(leaf(lambda draft: None, "spiffe://else.example/billing/api")), SVID, {}),
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_server_that_is_refused_is_told_why(code: str, serve: Callable[[Shown], int]) -> None:
    make, identity, more = REFUSED[code]
    port = serve(make())
    decided = admission(port, config(port, identity, **more))
    assert decided.denied and codes(decided) == {code}, decided.violation and decided.violation.details


def test_every_code_of_network_and_handshake_has_its_case() -> None:
    assert set(GROUPS["Network and handshake"]) == set(REFUSED) & set(GROUPS["Network and handshake"]) | {
        "N-KEY-CHANGED", "N-ANSWER",
    }  # fmt: skip


def test_a_server_that_asks_for_our_certificate_gets_it(serve: Callable[[Shown], int]) -> None:
    port = serve(shown(asks=True))
    settings = config(port, {**TLS, "client-certificate": "demand"}, client_certificate=pem(CLIENT))
    assert admission(port, settings).out["verdict"] == "admit"


@pytest.mark.parametrize(
    ("more", "secrets"),
    [
        ({"client_certificate": pem(CLIENT)}, {}),
        ({"client_certificate": pem(CLIENT)}, {"client_key": "no key"}),
        ({"client_certificate": pem(ROOT.der)}, {"client_key": "own"}),
        ({"client_certificate": "no certificate"}, {"client_key": "own"}),
        ({"bundles": {f"spiffe://{OWN}": bundle()}}, {}),
        ({"sources": {"a name": {"kind": "bundle", "url": "https://x.example/", "anchors": "own"}}}, {}),
        ({"sources": {"x": {"kind": "ocsp", "url": "https://x.example/", "anchors": "own", "issuers": "ow"}}}, {}),
        ({"anchors": {"own": pem(ROOT.der).rstrip() + pem(FAR.der)}}, {}),
        ({"crls": [pem(ROOT.der)]}, {}),
        ({"crls": lists() * 33}, {}),
        ({"anchors": {"own": pem(ROOT.der).partition("\n")[2]}}, {}),
    ],
)
def test_what_could_never_be_used_is_refused_when_it_is_read(more: dict[str, Any], secrets: dict[str, str]) -> None:
    given = {name: private_pem() if text == "own" else text for name, text in secrets.items()}
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds, which the host tells alike
        read_settings(config(443, TLS, **more), given)


def stapled(certificate: bytes) -> bytes:
    builder = ocsp.OCSPResponseBuilder().add_response(
        x509.load_der_x509_certificate(certificate), BETWEEN.view, SHA1(), ocsp.OCSPCertStatus.GOOD, NOW - DAY,
        NOW + DAY, None, None,
    )  # fmt: skip
    signed = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, BETWEEN.view).sign(BETWEEN.private, SHA256())
    return signed.public_bytes(Encoding.DER)


def test_a_stapled_answer_is_taken_where_no_list_is(serve: Callable[[Shown], int]) -> None:
    certificate = leaf()
    port = serve(shown(certificate, staple=stapled(certificate)))
    assert admission(port, config(port, TLS, crls=lists()[:1])).out["verdict"] == "admit"


def test_an_identity_of_its_own_domain_is_admitted_whatever_its_name(serve: Callable[[Shown], int]) -> None:
    port = serve(shown(leaf(lambda draft: None, WORKLOAD)))
    decided = admission(port, config(port, SVID))
    assert decided.out["verdict"] == "admit", decided.violation and decided.violation.details


@pytest.mark.parametrize("name", ["first", "second"])
def test_an_identity_is_verified_under_the_rule_that_it_is_for(serve: Callable[[Shown], int], name: str) -> None:
    """Both rules allow it, and each has a match of its own; the second pins another key."""
    port = serve(shown(leaf(lambda draft: None, f"spiffe://{OWN}/{name}/api")))
    settings = config(port, SVID)
    both = {"kind": "x509-svid", "allowed": [f"spiffe://{OWN}/*"], "revocation": "off"}
    settings["policy"]["servers"] = [
        {"name": "first", "match": f"spiffe://{OWN}/first/*", "identity": both},
        {"name": "second", "match": f"spiffe://{OWN}/second/*", "identity": {**both, "pins": ["00" * 32]}},
    ]
    decided = admission(port, settings)
    assert codes(decided) == ({"X-SPKI-PIN"} if name == "second" else set())


def test_a_chain_that_was_handed_over_is_never_admitted(loopback: None) -> None:
    chain = [base64.b64encode(der).decode() for der in (leaf(), BETWEEN.der)]
    decided = admission(
        443, config(443, TLS, handshake=False), payload={"url": "https://127.0.0.1/x", "certificates": chain}
    )
    assert decided.denied and codes(decided) == {"M-POP"}


def test_a_server_with_no_rule_is_not_even_dialled(loopback: None) -> None:
    settings = config(8443, TLS)
    decided = admission(1, settings)
    assert codes(decided) == {"A-NO-RULE"}


def closes(connection: socket.socket) -> None:
    connection.close()


def speaks_no_tls(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 no\r\n\r\n" * 99)


def is_silent(_: socket.socket) -> None:
    """Accept, and leave it at that."""


def floods(connection: socket.socket) -> None:
    """A handshake record that goes on and on."""
    while True:
        connection.sendall(b"\x16\x03\x03\x40\x00\x0b\xff\xff\xff" + bytes(16375))


@pytest.mark.parametrize("deed", [closes, speaks_no_tls, is_silent, floods], ids=lambda deed: deed.__name__)
def test_what_a_registrant_hears_does_not_tell_closed_from_filtered(
    loopback: None, deed: Callable[[socket.socket], None]
) -> None:
    with misbehaving(deed) as port:
        settings = config(port, TLS, seconds=0.5)
        refused = stage("identity", port, settings)
    closed = stage("identity", port, settings)
    assert refused.violation is not None and closed.violation is not None
    assert refused.violation.as_json() == closed.violation.as_json()
    assert codes(refused) == {"N-UNREACHABLE"}


@pytest.mark.parametrize("code", ["R-STAPLE-PARSE", "C-PARSE"])
def test_what_a_server_shows_and_nobody_can_read_is_its_own_fault(serve: Callable[[Shown], int], code: str) -> None:
    """Our TLS library ends the handshake there; that is not to pass for a server that did not answer."""
    certificate = leaf()
    staple = stapled(certificate)
    old = staple if code == "R-STAPLE-PARSE" else certificate
    port = serve(shown(certificate, staple=staple, newest=SSL.TLS1_2_VERSION))
    with garbled(port, old[:8], b"\x31" + old[1:8]) as between:
        decided = admission(between, config(between, {**TLS, "tls": "1.2"}))
    assert decided.denied and codes(decided) == {code}


def test_a_chain_that_is_longer_than_is_taken_is_its_servers_fault(serve: Callable[[Shown], int]) -> None:
    def long(draft: Draft) -> None:
        draft.put(x509.SubjectAlternativeName([x509.DNSName(f"n{number}.example.com") for number in range(1500)]))

    certificate = leaf(long)
    chain = (certificate, *[certificate] * 4)
    assert sum(map(len, chain)) > 100 * 1024
    port = serve(Shown(chain, key("leaf")))
    decided = admission(port, config(port, TLS))
    assert decided.denied and codes(decided) == {"C-SIZE"}


def test_a_silent_server_is_given_up_while_somebody_still_waits(loopback: None, data: Path) -> None:
    """A call that overruns its time would cost the worker, and whatever else it does."""
    with misbehaving(is_silent) as port:
        begun = monotonic()
        found = testing.call(
            attestation.plugin, "identity", payload={"url": f"https://127.0.0.1:{port}/"}, hook="server_pre_register",
            config=config(port, TLS, seconds=60), data=data, seconds=2.0,
        )  # fmt: skip
    assert codes(found) == {"N-UNREACHABLE"} and found.violation is not None and found.violation.retry_after_ms
    assert monotonic() - begun < 30


def test_evidence_for_this_challenge_admits(serve: Callable[[Shown], int], data: Path) -> None:
    port = serve(shown(attester=attester()))
    decided = admission(port, config(port, TLS, EVIDENCE), data)
    assert decided.out["verdict"] == "admit", decided.violation and decided.violation.details


def relayed(nonce: bytes, context: bytes) -> bytes:
    return attester(own=spki(key("somebody else")))(nonce, context)


def replayed() -> Callable[[bytes, bytes], bytes]:
    return lambda nonce, context: attester()(bytes(32), context)


EVIDENCE_REFUSED: dict[str, Callable[[], Shown]] = {
    "C-BINDING": lambda: shown(attester=relayed),
    "J-SIG": lambda: shown(attester=attester(ECKey.generate_key("P-256", {"kid": "k1"}))),
    "C-PARSE": lambda: shown(attester=lambda nonce, context: b"{}"),
    "N-ANSWER": lambda: shown(attester=attester(), status=302),
    "C-SIZE": lambda: shown(attester=lambda nonce, context: b"x" * (1024 * 1024 + 1)),
    "C-KIND-NOT-ALLOWED": lambda: shown(attester=lambda nonce, context: b'{"kind": "tpm", "evidence": ""}'),
}


@pytest.mark.parametrize("code", EVIDENCE_REFUSED)
def test_evidence_that_is_refused_says_why(code: str, serve: Callable[[Shown], int], data: Path) -> None:
    port = serve(EVIDENCE_REFUSED[code]())
    decided = admission(port, config(port, TLS, EVIDENCE), data)
    assert decided.denied and codes(decided) == {code}


def test_a_replayed_answer_is_bound_to_another_nonce(serve: Callable[[Shown], int], data: Path) -> None:
    port = serve(shown(attester=replayed()))
    assert codes(admission(port, config(port, TLS, EVIDENCE), data)) == {"C-BINDING"}


def test_a_server_that_shows_another_key_than_before_is_refused(serve: Callable[[Shown], int], data: Path) -> None:
    port = serve(shown(attester=attester()))
    settings = config(port, TLS, EVIDENCE)
    who = stage("identity", port, settings, data)
    who.out["result"]["claims"]["spki"] = "00" * 32
    fresh = stage("challenge", port, settings, data, identity=who.out["result"])
    assert codes(fresh) == {"N-KEY-CHANGED"}


@pytest.mark.parametrize("code", ["R-CRL-MISSING", "N-UNREACHABLE"])
def test_what_keeps_evidence_from_being_asked_for_may_pass_and_is_no_denial(
    serve: Callable[[Shown], int], data: Path, code: str
) -> None:
    newest = SSL.TLS1_2_VERSION if code == "N-UNREACHABLE" else SSL.TLS1_3_VERSION
    port = serve(shown(attester=attester(), newest=newest))
    decided = admission(port, config(port, TLS, EVIDENCE, crls=[] if code == "R-CRL-MISSING" else lists()), data)
    assert codes(decided) == {code} and decided.out["verdict"] == "error"
    assert decided.violation is not None and decided.violation.retry_after_ms


def test_evidence_that_is_required_and_was_not_asked_for_is_missing(serve: Callable[[Shown], int]) -> None:
    port = serve(shown(attester=attester()))
    assert codes(admission(port, config(port, TLS, EVIDENCE))) == {"C-KIND-MISSING"}


def test_nothing_of_a_record_can_ask_for_less(serve: Callable[[Shown], int]) -> None:
    port = serve(shown(leaf(expired)))
    payload = {"evidence": {"verdict": "admit"}, "metadata": {"profile": "none"}}
    assert codes(admission(port, config(port, TLS), payload=payload)) == {"X-EXPIRED"}


@pytest.mark.parametrize("given", [{}, {"identity": {}}, {"identity": {"verdict": "admit"}}])
def test_appraise_without_an_identity_is_a_denial(given: dict[str, Any]) -> None:
    decided = stage("appraise", 443, config(443, TLS), **given)
    code = "A-RESULT-FORM" if given.get("identity") else "A-IDENTITY-MISSING"
    assert decided.denied and decided.violation is not None
    details: Any = decided.violation.details
    assert [reason["code"] for reason in details["reasons"]] == [code]


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "192.168.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::10.0.0.1",
     "64:ff9b::8.8.8.8", "64:ff9b:1::1", "2002:a00:1::1", "2001::1", "2001:db8::1", "::ffff:8.8.8.8", "4000::1"],
)  # fmt: skip
def test_addresses_that_are_not_global_are_not_dialled(text: str) -> None:
    assert not is_permitted(ip_address(text), ())


def test_global_addresses_and_networks_that_are_named_are() -> None:
    assert is_permitted(ip_address("93.184.216.34"), ()) and is_permitted(ip_address("2606:4700::1"), ())
    own = read_networks(["10.0.0.0/8", "fd00::/8"])
    assert is_permitted(ip_address("10.1.2.3"), own) and is_permitted(ip_address("fd00::1"), own)
    assert is_permitted(ip_address("::ffff:10.1.2.3"), own) and is_permitted(ip_address("64:ff9b::10.1.2.3"), own)
    assert not is_permitted(ip_address("192.168.0.1"), own) and not is_permitted(ip_address("fe80::1"), own)


def test_one_address_that_is_not_permitted_is_enough_wherever_it_stands() -> None:
    many = [ip_address(f"93.184.216.{number}") for number in range(40)]
    assert to_try(many, ()) == many[:3]
    with pytest.raises(NotDialled) as refused:
        to_try([*many, ip_address("10.0.0.1")], ())
    assert refused.value.code == "N-ADDRESS"


def decisions(folder: Path) -> list[dict[str, Any]]:
    return [dict(read_line(line)) for line in AuditLog(folder / "audit.jsonl").lines()]


def test_every_decision_is_recorded_with_what_it_rests_on(serve: Callable[[Shown], int], data: Path) -> None:
    good, bad = serve(shown(attester=attester())), serve(shown(leaf(expired)))
    admission(good, config(good, TLS, EVIDENCE), data)
    admission(bad, config(bad, TLS))
    first, second = decisions(data)
    assert (first["verdict"], first["codes"], first["rule"]) == ("admit", [], "server")
    assert (second["verdict"], second["codes"]) == ("deny", ["X-EXPIRED"])
    assert set(first["judged"]) == set(first["results"]) == {"identity", "jwt-svid"}
    assert set(first["ms"]) == set(first["checks"]) == {"identity", "jwt-svid", "appraise"}
    took = {stage: sum(checks.values()) for stage, checks in first["checks"].items()}
    assert all(0 < took[stage] <= first["ms"][stage] for stage in took), "each within its stage"
    assert {"signature", "validity", "revocation"} <= set(first["checks"]["identity"])
    assert {"rule", "result", "drift"} & set(first["checks"]["appraise"]) == {"rule", "result"}, "what ran is timed"
    assert second["checks"]["identity"]["signature"] > 0, "whatever the verdict"
    assert len(first["nonce"]) == len(first["policy"]) == len(first["anchors"]) == 64


def chain_digest(*chain: bytes) -> str:
    """As the page says that it is recomputed."""
    return sha256(b"".join(len(der).to_bytes(4, "big") + der for der in chain)).hexdigest()


@pytest.mark.parametrize("code", ["", "X-EXPIRED", "X-ANCHOR-UNKNOWN"])
def test_the_record_names_the_chain_that_was_judged_whatever_came_of_it(
    code: str, serve: Callable[[Shown], int], data: Path
) -> None:
    made = REFUSED[code][0]() if code else shown()
    port = serve(made)
    admission(port, config(port, TLS))
    (line,) = decisions(data)
    assert line["codes"] == ([code] if code else [])
    assert line["judged"] == {"identity": chain_digest(*made.chain)}


def test_a_chain_that_was_handed_over_is_named_as_well(data: Path) -> None:
    ders = (leaf(expired), BETWEEN.der)
    payload = {"url": "https://127.0.0.1/x", "certificates": [base64.b64encode(der).decode() for der in ders]}
    decided = admission(443, config(443, TLS, handshake=False), payload=payload)
    (line,) = decisions(data)
    assert line["judged"] == {"identity": chain_digest(*ders)}
    assert codes(decided) == {*line["codes"]} == {"X-EXPIRED", "M-POP"}, "one fault hides no other"


def test_a_server_that_shows_nothing_is_recorded_with_no_digest(serve: Callable[[Shown], int], data: Path) -> None:
    port = serve(shown(newest=SSL.TLS1_2_VERSION))
    admission(port, config(port, TLS))
    (line,) = decisions(data)
    assert (line["codes"], line["judged"]) == (["N-UNREACHABLE"], {"identity": ""})


@pytest.mark.parametrize("code", ["", "C-BINDING", "C-PARSE", "C-KIND-NOT-ALLOWED"])
def test_the_record_names_the_answer_that_was_judged_whatever_came_of_it(
    code: str, serve: Callable[[Shown], int], data: Path
) -> None:
    kept = data / "answer"
    made = EVIDENCE_REFUSED[code]() if code else shown(attester=attester())
    answers = made.attester
    assert answers is not None

    def kept_by_the_attester(nonce: bytes, context: bytes) -> bytes:
        kept.write_bytes(answers(nonce, context))
        return kept.read_bytes()

    port = serve(replace(made, attester=kept_by_the_attester))
    admission(port, config(port, TLS, EVIDENCE), data)
    (line,) = decisions(data)
    assert line["codes"] == ([code] if code else [])
    assert line["judged"].keys() - {"identity"} == line["results"].keys() - {"identity"}
    (evidence,) = line["judged"].keys() - {"identity"}
    assert line["judged"][evidence] == sha256(kept.read_bytes()).hexdigest() != line["results"][evidence]


def test_a_decision_that_cannot_be_recorded_is_none(serve: Callable[[Shown], int], data: Path) -> None:
    port = serve(shown())
    (data / "audit.jsonl").mkdir()
    decided = admission(port, config(port, TLS))
    assert decided.denied and decided.violation is not None and decided.violation.code == "attestation.error"
    assert "A-STORE" in decided.violation.reason and decided.violation.retry_after_ms


@pytest.mark.parametrize(("name", "store"), [("identity", "trust.db"), ("appraise", "admitted.db")])
def test_a_store_that_is_locked_is_an_error_that_may_pass(
    serve: Callable[[Shown], int], data: Path, name: str, store: str
) -> None:
    """It is locked when the call asks for the time, after the plugin has started."""
    port = serve(shown())
    settings = config(port, TLS)
    result = stage("identity", port, settings, clock=lambda: NOW).out["result"]
    (data / "trust.db").unlink()  # so that the numbers of lists are news again, and have to be written
    holder = sqlite3.connect(data / store, isolation_level=None)

    def clock() -> dt.datetime:
        if not holder.in_transaction:
            holder.execute("BEGIN IMMEDIATE")
        return dt.datetime.now(dt.UTC)

    found = stage(name, port, settings, clock=clock, **({"identity": result} if name == "appraise" else {}))
    holder.close()
    assert found.violation is not None and found.violation.code == "attestation.error"
    details: Any = found.violation.details
    assert [(one["code"], one["actual"]) for one in details["reasons"]] == [("A-STORE", "database is locked")]
    assert details["retryable"] and found.violation.retry_after_ms
    if name == "identity":
        assert found.out["result"]["judged"] == result["judged"] != ""
        decided = stage("appraise", port, settings, identity=found.out["result"])
        assert codes(decided) == {"A-STORE"} and decided.violation is not None and decided.violation.retry_after_ms


def test_the_clock_is_given(serve: Callable[[Shown], int], data: Path) -> None:
    """Certificates, lists and nonces are judged by the clock that the plugin was made with."""
    port = serve(shown(attester=attester()))
    settings = config(port, TLS, EVIDENCE)
    assert admission(port, settings, data, clock=lambda: NOW + dt.timedelta(minutes=4)).out["verdict"] == "admit"
    late = admission(port, settings, data, clock=lambda: NOW + 400 * DAY)
    assert codes(late) == {"X-EXPIRED", "R-CRL-STALE"}
    moments = iter([NOW, NOW + dt.timedelta(minutes=5)])  # of the question, and of the answer
    who = stage("identity", port, settings, data, clock=lambda: NOW)
    burnt = stage("challenge", port, settings, data, clock=lambda: next(moments), identity=who.out["result"])
    assert codes(burnt) == {"C-NONCE-EXPIRED"}


def test_every_reason_says_where_what_was_expected_and_what_was_there(data: Path) -> None:
    bad = {"identity": {"verdict": "admit"}}
    for url, given in (("http://x.example/", {}), (None, {}), (5, {}), ("https://127.0.0.1/", bad)):
        for name in ("identity", "challenge", "appraise"):
            found = stage(name, 443, config(8443, TLS), payload={"url": url}, **given)
            details: Any = found.violation and found.violation.details
            assert details["reasons"]
            for reason in details["reasons"]:
                assert all(reason[member] for member in ("code", "path", "expected", "actual")), reason


def test_a_server_that_comes_back_with_another_key_has_drifted(loopback: None, data: Path) -> None:
    with serving(shown()) as port:
        settings = config(port, TLS)
        assert admission(port, settings).out["verdict"] == "admit"
        assert admission(port, settings).out["verdict"] == "admit"
    other = BETWEEN.leaf(now(), "127.0.0.1", label="another leaf")
    with serving(shown(other, private=key("another leaf"), port=port)):
        rule = settings["policy"]["servers"][0]
        assert codes(admission(port, settings)) == {"D-KEY-CHANGED"}
        asked = admission(port, with_drift(settings, rule, "require-approval"))
        assert codes(asked) == {"D-KEY-CHANGED", "D-APPROVAL"}
        assert admission(port, with_drift(settings, rule, "allow")).out["verdict"] == "admit"
        assert admission(port, settings).out["verdict"] == "admit"


def with_drift(settings: dict[str, Any], rule: dict[str, Any], word: str) -> dict[str, Any]:
    return {**settings, "policy": {"version": 1, "servers": [{**rule, "drift": word}]}}


def test_a_store_of_nonces_that_is_locked_is_an_error_that_may_pass(data: Path) -> None:
    settings = read_settings(config(443, TLS, EVIDENCE), {})
    challenger, url = Challenger.at(data), read_url("https://127.0.0.1/mcp")
    holder = sqlite3.connect(data / "nonces.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    found = challenger.challenge(url, settings.policy.rules[0], "00" * 32, settings, lambda: NOW)
    holder.close()
    (only,) = found.results
    assert only.outcome.codes == {"C-STORE-BUSY"} and only.outcome.retryable


def test_a_change_that_an_operator_approved_is_let_in_and_no_other(loopback: None, data: Path) -> None:
    def served(label: str, port: int = 0) -> Shown:
        return shown(BETWEEN.leaf(now(), "127.0.0.1", label=label), private=key(label), port=port)

    with serving(served("first")) as port:
        settings = config(port, TLS)
        settings = with_drift(settings, settings["policy"]["servers"][0], "require-approval")
        assert admission(port, settings).out["verdict"] == "admit"
    with serving(served("second", port)):
        assert codes(admission(port, settings)) == {"D-KEY-CHANGED", "D-APPROVAL"}
        store = Admissions(data / "admitted.db")
        (asked,) = store.approvals()
        assert asked.server == f"https://127.0.0.1:{port}/mcp" and not asked.given
        assert not store.approve(asked.server, asked.tenant, "00" * 32)
        assert store.approve(asked.server, asked.tenant, asked.digest)
    with serving(served("third", port)):
        assert codes(admission(port, settings)) == {"D-KEY-CHANGED", "D-APPROVAL"}
    with serving(served("second", port)):
        assert admission(port, settings).out["verdict"] == "admit"
        assert store.approvals() == []
        assert admission(port, settings).out["verdict"] == "admit"


def test_an_operator_is_asked_about_a_change_once_nothing_else_speaks_against_it(loopback: None, data: Path) -> None:
    """What is approved is all of it, evidence too, and the first registration of two has none yet."""
    store = Admissions(data / "admitted.db")

    def registered(port: int, settings: dict[str, Any], label: str) -> testing.Outcome:
        asked: Any = admission(port, settings, data).violation
        (challenge,) = asked.details["challenges"]
        assert store.approvals() == [] or store.approvals()[0].given
        return recorded(port, settings, data, answered(challenge, attester(own=spki(key(label)))))

    with serving(shown()) as port:
        settings = config(port, TLS, RECORD)
        settings = with_drift(settings, settings["policy"]["servers"][0], "require-approval")
        assert registered(port, settings, "leaf").out["verdict"] == "admit"
    other = BETWEEN.leaf(now(), "127.0.0.1", label="another leaf")
    with serving(shown(other, private=key("another leaf"), port=port)):
        assert codes(registered(port, settings, "another leaf")) == {"D-KEY-CHANGED", "D-APPROVAL"}
        (asked,) = store.approvals()
        assert store.approve(asked.server, asked.tenant, asked.digest)
        assert registered(port, settings, "another leaf").out["verdict"] == "admit"


def test_each_kind_of_evidence_is_asked_for_by_a_nonce_of_its_own(serve: Callable[[Shown], int], data: Path) -> None:
    """The attester of this test answers one kind, whatever it is asked for."""
    nonces = data / "nonces"

    def answers(nonce: bytes, context: bytes) -> bytes:
        with nonces.open("ab") as file:
            file.write(nonce)
        return attester()(nonce, context)

    port = serve(shown(attester=answers))
    settings = read_settings(config(port, TLS, EVIDENCE), {})
    rule = settings.policy.rules[0]
    assert rule.evidence is not None
    # Of a second kind, which no policy can name as long as nobody verifies it.
    rule = structs.replace(rule, evidence=structs.replace(rule.evidence, require=("jwt-svid", "tpm")))
    url, key_digest = read_url(f"https://127.0.0.1:{port}/mcp"), sha256(spki(key("leaf"))).hexdigest()
    first, second = Challenger.at(data).challenge(url, rule, key_digest, settings, lambda: NOW).results
    assert (first.kind, first.outcome.codes) == ("jwt-svid", frozenset())
    assert (second.kind, second.outcome.codes) == ("evidence", frozenset({"C-KIND-NOT-ALLOWED"}))
    seen = nonces.read_bytes()
    assert len(seen) == 64 and seen[:32] != seen[32:]
    named = [one.outcome.claims["nonce"] for one in (first, second)]
    assert named == [sha256(part).hexdigest() for part in (seen[:32], seen[32:])]


RECORD: dict[str, Any] = {**EVIDENCE, "via": "record"}


def recorded(port: int, settings: dict[str, Any], data: Path, *answers: dict[str, Any]) -> testing.Outcome:
    """Register with evidence in the record."""
    return admission(port, settings, data, payload={"evidence": {"v": 1, "answers": [*answers]}})


def answered(challenge: dict[str, Any], made: Callable[[bytes, bytes], bytes] | None = None) -> dict[str, Any]:
    """What a registrant makes of a challenge."""
    nonce, context = (base64.urlsafe_b64decode(challenge[name] + "=") for name in ("nonce", "context"))
    return {**json.loads((made or attester())(nonce, context)), "nonce": challenge["nonce"]}


def challenged(port: int, settings: dict[str, Any], data: Path) -> dict[str, Any]:
    """Register without evidence, and be told what to answer."""
    decided = admission(port, settings, data)
    assert codes(decided) == {"C-EVIDENCE-ASKED"} and decided.violation is not None
    details: Any = decided.violation.details
    (challenge,) = details["challenges"]
    assert challenge["kinds"] == ["jwt-svid"] and challenge["v"] == 1
    return dict(challenge)


def test_evidence_in_a_record_answers_a_nonce_that_was_issued_for_it(serve: Callable[[Shown], int], data: Path) -> None:
    port = serve(shown())
    settings = config(port, TLS, RECORD)
    answer = answered(challenged(port, settings, data))
    assert recorded(port, settings, data, answer).out["verdict"] == "admit"
    assert codes(recorded(port, settings, data, answer)) == {"C-NONCE-REUSED"}
    first, good, again = decisions(data)
    shown_once = sha256(
        json.dumps({"v": 1, "answers": [answer]}, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
    assert first["judged"]["evidence"] == ""
    assert good["judged"]["jwt-svid"] == again["judged"]["evidence"] == shown_once
    assert len(good["nonce"]) == 64 and good["nonce"] == again["nonce"]


def test_evidence_in_a_record_is_taken_only_where_the_operator_says_so(
    serve: Callable[[Shown], int], data: Path
) -> None:
    port = serve(shown())
    answer = answered(challenged(port, config(port, TLS, RECORD), data))
    pulled = recorded(port, config(port, TLS, EVIDENCE), data, answer)
    assert codes(pulled) == {"C-PARSE"}, "the server, which was asked all the same, answers nothing"


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("C-NONCE-UNKNOWN", lambda answer: {**answer, "nonce": "A" * 43}),
        ("C-KIND-NOT-ALLOWED", lambda answer: {**answer, "kind": "tpm"}),
        ("C-PARSE", lambda answer: {**answer, "verdict": "admit"}),
        ("C-PARSE", lambda answer: {name: one for name, one in answer.items() if name != "nonce"}),
        ("J-SER", lambda answer: {**answer, "evidence": ""}),
    ],
)
def test_evidence_in_a_record_that_is_no_answer_is_refused(
    serve: Callable[[Shown], int], data: Path, code: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    port = serve(shown())
    settings = config(port, TLS, RECORD)
    decided = recorded(port, settings, data, change(answered(challenged(port, settings, data))))
    assert codes(decided) == {code} | ({"C-KIND-MISSING"} if code == "C-KIND-NOT-ALLOWED" else set())


def test_what_was_judged_is_named_once_though_several_things_were_found(
    serve: Callable[[Shown], int], data: Path
) -> None:
    port = serve(shown())
    settings = config(port, TLS, RECORD)
    recorded(port, settings, data, {**answered(challenged(port, settings, data)), "kind": "tpm"})
    _, line = decisions(data)
    assert [len(line[member]["evidence"].split()) for member in ("judged", "results")] == [1, 2]


def test_evidence_in_a_record_of_another_server_is_refused(serve: Callable[[Shown], int], data: Path) -> None:
    """The nonce was issued for the first server's name and key; answered on its behalf by whoever relays it."""
    first, second = serve(shown()), serve(shown())
    challenge = challenged(first, config(first, TLS, RECORD), data)
    settings = config(second, TLS, RECORD)
    assert codes(recorded(second, settings, data, answered(challenge))) == {"C-NONCE-OTHER-SERVER"}


def test_a_record_that_cannot_even_be_read_is_a_decision_too(data: Path) -> None:
    decided = stage("appraise", 443, config(443, TLS), payload={"url": "http://x.example/"}, identity={})
    assert codes(decided) == {"U-SCHEME"}
    (line,) = decisions(data)
    assert (line["server"], line["codes"], line["rule"]) == ("http://x.example/", ["U-SCHEME"], "")


@pytest.mark.parametrize("chain", [["%%"], [5], ["AAAA"], [], 5, "AAAA", {"a": 1}])
def test_a_record_with_something_else_than_certificates_is_refused(chain: object) -> None:
    """What is not even base64 shows nothing that anybody could possess the key of."""
    payload = {"url": "https://127.0.0.1/x", "certificates": chain}
    more = {"M-POP"} if chain == ["AAAA"] else set()
    assert codes(admission(443, config(443, TLS, handshake=False), payload=payload)) == {"C-PARSE"} | more
