"""Lists and bundles come from configured sources, when they are due, and never older than what was seen."""

from __future__ import annotations

import datetime as dt
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from pki import DAY, Authority, authority_draft, key
from servers import Shown, misbehaving, pem
from test_stages import (
    BETWEEN,
    FAR,
    NOW,
    OWN,
    ROOT,
    SVID,
    TLS,
    WORKLOAD,
    admission,
    bundle,
    codes,
    config,
    data,
    leaf,
    lists,
    now,
    serial,
    serve,
    shown,
    stage,
)
from world.responders import Responders
from world.settings import read_settings
from world.sources import Fetched, Sources
from world.trust import Kind, TrustStore

assert data and serve  # fixtures

Serve = Callable[[Shown], int]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What the source answers."""
    return tmp_path / "answer"


def crl(*revoked: int, number: int = 8, begin: dt.datetime = NOW - DAY, end: dt.datetime = NOW + DAY) -> bytes:
    return BETWEEN.crl(*revoked, number=number, begin=begin, end=end)


def sourced(port: int, source: int, kind: str = "crl", name: str = "between", **more: Any) -> dict[str, Any]:
    """The settings of a server whose list, or bundle, comes from a source."""
    said = {"kind": kind, "url": f"https://127.0.0.1:{source}/between.crl", "anchors": "own", "every": 3600.0}
    settings = config(port, SVID if kind == "bundle" else TLS)
    return settings | {"crls": lists()[:1], "ports": [port, source], "sources": {name: said | more}}


def fetch(settings: dict[str, Any], folder: Path, now: dt.datetime = NOW) -> Fetched:
    """As the stage does, at any time."""
    sources = Sources(folder / "sources.db")
    return sources.fetch(read_settings(settings, {}), TrustStore(folder / "trust.db"), now)


@pytest.mark.parametrize("form", ["der", "pem"])
def test_a_list_is_fetched_and_counts_at_once(serve: Serve, file: Path, form: str) -> None:
    port, source = serve(shown(leaf(serial))), serve(shown(file=file))
    settings = sourced(port, source)
    assert codes(admission(port, settings)) == {"R-CRL-MISSING"}
    made = crl()
    file.write_bytes(made if form == "der" else x509.load_der_x509_crl(made).public_bytes(Encoding.PEM))
    assert stage("collateral", port, settings).out == {"fetched": ["between"], "failed": {}}
    assert admission(port, settings).out["verdict"] == "admit"


def test_a_source_is_asked_when_it_is_due_and_by_one_alone(serve: Serve, file: Path, tmp_path: Path) -> None:
    source = serve(shown(file=file))
    settings = sourced(443, source)
    file.write_bytes(crl(number=8))
    assert fetch(settings, tmp_path).new == ("between",)
    file.write_bytes(crl(77, number=9))
    assert fetch(settings, tmp_path, NOW + dt.timedelta(minutes=59)) == Fetched((), {})
    assert fetch(settings, tmp_path, NOW + dt.timedelta(minutes=60)).new == ("between",)
    assert fetch(settings, tmp_path, NOW + dt.timedelta(hours=2)) == Fetched((), {}), "nothing new"


def test_a_policy_can_switch_it_off(serve: Serve, file: Path, tmp_path: Path) -> None:
    settings = sourced(443, serve(shown(file=file)))
    file.write_bytes(crl())
    off = settings | {"policy": settings["policy"] | {"fetch": False}}
    assert fetch(off, tmp_path) == Fetched((), {})
    assert fetch(settings, tmp_path).new == ("between",)


@pytest.mark.parametrize(
    ("code", "made"),
    [
        ("R-CRL-PARSE", b"<html>"),
        ("R-CRL-STALE", crl(begin=NOW - 3 * DAY, end=NOW - DAY)),
        ("R-CRL-FUTURE", crl(begin=NOW + DAY, end=NOW + 2 * DAY)),
        ("C-SIZE", b"\x30" * (2 * 2**20 + 1)),
    ],
)
def test_what_is_no_good_is_not_stored_and_asked_for_again(
    serve: Serve, file: Path, tmp_path: Path, code: str, made: bytes
) -> None:
    settings = sourced(443, serve(shown(file=file)))
    file.write_bytes(made)
    assert fetch(settings, tmp_path).failed == {"between": code}
    assert not TrustStore(tmp_path / "trust.db").snapshot().items
    file.write_bytes(crl())
    assert fetch(settings, tmp_path, NOW + dt.timedelta(seconds=60)).new == ("between",)


def test_an_older_list_is_refused(serve: Serve, file: Path) -> None:
    port, source = serve(shown(leaf(serial))), serve(shown(file=file))
    settings = sourced(port, source, every=1e-6)
    file.write_bytes(crl(77, number=9))
    assert stage("collateral", port, settings).out["fetched"] == ["between"]
    assert codes(admission(port, settings)) == {"R-REVOKED"}
    file.write_bytes(crl(number=8))
    assert stage("collateral", port, settings).out["failed"] == {"between": "R-CRL-ROLLBACK"}
    assert codes(admission(port, settings)) == {"R-REVOKED"}


def test_a_source_whose_certificate_leads_elsewhere_is_not_believed(serve: Serve, file: Path, tmp_path: Path) -> None:
    settings = sourced(443, serve(shown(by=FAR, file=file)))
    file.write_bytes(crl())
    assert fetch(settings, tmp_path).failed == {"between": "X-ANCHOR-UNKNOWN"}


def test_a_source_that_cannot_be_had_leaves_what_is_there(serve: Serve, file: Path, tmp_path: Path) -> None:
    port, source = serve(shown(leaf(serial))), serve(shown(file=file))
    settings = sourced(port, source)
    file.write_bytes(crl())
    assert stage("collateral", port, settings).out["fetched"] == ["between"]
    gone = settings | {"sources": {"between": settings["sources"]["between"] | {"url": "https://127.0.0.1:1/x"}}}
    gone["ports"] = [*settings["ports"], 1]
    assert fetch(gone, tmp_path).failed == {"between": "N-UNREACHABLE"}
    assert admission(port, gone).out["verdict"] == "admit"


def test_a_bundle_is_fetched_and_one_that_was_removed_stays_so(serve: Serve, file: Path, tmp_path: Path) -> None:
    port, source = serve(shown(leaf(lambda draft: None, WORKLOAD))), serve(shown(file=file))
    settings = sourced(port, source, "bundle", OWN, every=1e-6)
    file.write_text(json.dumps({"spiffe_sequence": 2, "keys": []}))
    assert stage("collateral", port, settings).out["fetched"] == [OWN]
    assert codes(admission(port, settings)) == {"S-BUNDLE-EMPTY"}
    file.write_text(json.dumps({**bundle(), "spiffe_sequence": 1}))
    assert stage("collateral", port, settings).out["failed"] == {OWN: "S-BUNDLE-ROLLBACK"}
    file.write_text(json.dumps({**bundle(), "spiffe_sequence": 3}))
    assert stage("collateral", port, settings).out["fetched"] == [OWN]
    assert admission(port, settings).out["verdict"] == "admit"
    TrustStore(tmp_path / "trust.db").put(Kind.BUNDLE, OWN, None)
    assert stage("collateral", port, settings).out == {"fetched": [], "failed": {}}
    assert codes(admission(port, settings)) == {"S-BUNDLE-EMPTY"}


def test_nothing_in_a_certificate_makes_anybody_fetch(serve: Serve, file: Path) -> None:
    """A distribution point and an authority's address that would answer, and are not asked."""
    asked = serve(shown(file=file))
    file.write_bytes(crl())
    url = x509.UniformResourceIdentifier(f"https://127.0.0.1:{asked}/between.crl")

    def points(draft: Any) -> None:
        serial(draft)
        draft.put(x509.CRLDistributionPoints([x509.DistributionPoint([url], None, None, None)]))
        access = x509.AccessDescription(x509.oid.AuthorityInformationAccessOID.CA_ISSUERS, url)
        draft.put(x509.AuthorityInformationAccess([access]))

    port = serve(shown(leaf(points)))
    settings = config(port, TLS) | {"crls": lists()[:1], "ports": [port, asked], "anchors": {"own": pem(ROOT.der)}}
    assert stage("collateral", port, settings).out == {"fetched": [], "failed": {}}
    assert codes(admission(port, settings)) == {"R-CRL-MISSING"}


def answer(certificate: bytes, status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD) -> bytes:
    """What the issuer of a certificate says about it."""
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        x509.load_der_x509_certificate(certificate), BETWEEN.view, SHA1(), status, NOW - DAY, NOW + DAY,
        NOW - DAY if revoked else None, None,
    )  # fmt: skip
    signed = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, BETWEEN.view).sign(BETWEEN.private, SHA256())
    return signed.public_bytes(Encoding.DER)


def responding(port: int, responder: int, **more: Any) -> dict[str, Any]:
    said = {"kind": "ocsp", "url": f"https://127.0.0.1:{responder}/ocsp", "anchors": "own", "every": 3600.0}
    settings = config(port, TLS) | {"crls": lists()[:1], "ports": [port, responder]}
    return settings | {"sources": {"own": said | more}}


def test_a_configured_responder_is_asked_once_for_a_while(serve: Serve, file: Path) -> None:
    certificate = leaf(serial)
    port, responder = serve(shown(certificate)), serve(shown(file=file))
    file.write_bytes(answer(certificate))
    settings = responding(port, responder)
    assert admission(port, settings).out["verdict"] == "admit"
    asked = file.with_suffix(".asked").read_bytes()
    assert ocsp.load_der_ocsp_request(asked[: 2 + asked[1]]).serial_number == 77
    file.unlink()
    assert admission(port, settings).out["verdict"] == "admit"
    assert file.with_suffix(".asked").read_bytes() == asked


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("R-REVOKED", lambda certificate: answer(certificate, ocsp.OCSPCertStatus.REVOKED)),
        ("R-OCSP-UNKNOWN", lambda certificate: answer(certificate, ocsp.OCSPCertStatus.UNKNOWN)),
        ("R-OCSP-PARSE", lambda _: b"<html>"),
        ("R-CRL-MISSING", lambda _: answer(leaf())),
    ],
)
def test_what_a_responder_says_counts_as_if_it_were_stapled(
    serve: Serve, file: Path, code: str, said: Callable[[bytes], bytes]
) -> None:
    certificate = leaf(serial)
    port, responder = serve(shown(certificate)), serve(shown(file=file))
    file.write_bytes(said(certificate))
    assert codes(admission(port, responding(port, responder))) == {code}


@pytest.mark.parametrize("more", [{"issuers": "others"}, {"url": "https://127.0.0.1:1/x"}])
def test_a_responder_that_is_not_for_the_rule_or_cannot_be_had_says_nothing(
    serve: Serve, file: Path, more: dict[str, str]
) -> None:
    certificate = leaf(serial)
    port, responder = serve(shown(certificate)), serve(shown(file=file))
    file.write_bytes(answer(certificate))
    settings = responding(port, responder, **more)
    settings["anchors"] |= {"others": pem(FAR.der)}
    assert codes(admission(port, settings)) == {"R-CRL-MISSING"}


def test_nobody_is_asked_where_revocation_is_off(serve: Serve, file: Path) -> None:
    certificate = leaf(serial)
    port, responder = serve(shown(certificate)), serve(shown(file=file))
    file.write_bytes(answer(certificate))
    settings = responding(port, responder)
    settings["policy"] = config(port, {**TLS, "revocation": "off"})["policy"]
    assert admission(port, settings).out["verdict"] == "admit"
    assert not file.with_suffix(".asked").exists()


def test_nobody_is_asked_about_what_a_stranger_wrote_in_an_authority_s_name(serve: Serve, file: Path) -> None:
    impostor = Authority(BETWEEN.der, key("impostor"))
    port, responder = serve(shown(leaf(serial, by=impostor))), serve(shown(file=file))
    file.write_bytes(b"")
    assert codes(admission(port, responding(port, responder))) == {"X-SIG"}
    asked = file.with_suffix(".asked").read_bytes()
    assert ocsp.load_der_ocsp_request(asked[: 2 + asked[1]]).serial_number == BETWEEN.view.serial_number
    assert len(asked) == 2 + asked[1], "about the authority itself, and nothing else"


def test_of_two_authorities_of_one_name_the_one_that_signed_is_asked(serve: Serve, file: Path) -> None:
    """While a key is rolled over both are trusted."""
    older = Authority(authority_draft("root now", None, key("older"), now()).signed(key("older")), key("older"))
    certificate = ROOT.leaf(now(serial), "127.0.0.1")
    port, responder = serve(shown(certificate)), serve(shown(file=file))
    file.write_bytes(b"")
    settings = responding(port, responder)
    settings["anchors"] = {"own": pem(older.der) + pem(ROOT.der)}
    admission(port, settings)
    asked = file.with_suffix(".asked").read_bytes()
    wanted = ocsp.OCSPRequestBuilder().add_certificate(x509.load_der_x509_certificate(certificate), ROOT.view, SHA1())
    assert wanted.build().public_bytes(Encoding.DER) in asked


@pytest.mark.parametrize("said", ["later", "old"])
def test_an_answer_that_is_of_no_use_is_asked_for_again_soon(
    serve: Serve, file: Path, said: str, tmp_path: Path
) -> None:
    certificate = leaf(serial)
    port, responder = serve(shown(certificate)), serve(shown(file=file))
    later = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    file.write_bytes(later.public_bytes(Encoding.DER) if said == "later" else answer(certificate))
    settings = responding(port, responder, every=10 * 86400.0)
    first, second = (NOW, NOW + dt.timedelta(minutes=2)) if said == "later" else (NOW, NOW + 2 * DAY)

    def at(moment: dt.datetime) -> set[str]:
        return codes(stage("identity", port, settings, clock=lambda: moment))

    assert at(first) == ({"R-OCSP-STATUS"} if said == "later" else set())
    size = len(file.with_suffix(".asked").read_bytes())
    assert at(first + dt.timedelta(seconds=30)) == at(first)
    assert len(file.with_suffix(".asked").read_bytes()) == size
    file.write_bytes(answer(certificate))
    at(second)
    assert len(file.with_suffix(".asked").read_bytes()) > size


@pytest.fixture
def silent(loopback: None, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of somebody who accepts and says nothing, and a file with a line for each connection."""
    asked = tmp_path / "connections"
    asked.touch()

    def counted(_: socket.socket) -> None:
        with asked.open("a") as file:
            file.write("one\n")

    with misbehaving(counted) as port:
        yield port, asked


def test_a_responder_that_is_silent_is_waited_for_once(serve: Serve, silent: tuple[int, Path]) -> None:
    """Not with every certificate, nor with the next server: a deadline would end that, even under `soft`."""
    responder, asked = silent
    for identity, came in (("soft", set()), ("hard", {"R-CRL-MISSING"})):
        port = serve(shown(leaf(serial)))
        settings = responding(port, responder) | {"crls": [], "seconds": 1.0}
        settings["policy"] = config(port, {**TLS, "revocation": identity})["policy"]
        assert codes(admission(port, settings)) == came
    assert asked.read_text().splitlines() == ["one"]


def test_a_responder_that_was_given_no_time_is_not_taken_for_a_silent_one(
    serve: Serve, file: Path, tmp_path: Path
) -> None:
    certificate = leaf(serial)
    responder = serve(shown(file=file))
    file.write_bytes(answer(certificate))
    settings = read_settings(responding(443, responder), {})
    late = replace(settings, dialling=replace(settings.dialling, until=monotonic()))
    responders = Responders(tmp_path / "answers.db")
    chain, rule = (certificate, BETWEEN.der), settings.policy.rules[0]
    assert responders.answers(chain, rule, late, NOW) == ()
    assert file.read_bytes() in responders.answers(chain, rule, settings, NOW)


def test_a_source_that_is_silent_is_waited_for_and_no_other_in_one_call(
    serve: Serve, silent: tuple[int, Path], file: Path, tmp_path: Path
) -> None:
    source, asked = silent
    settings = sourced(443, source) | {"seconds": 1.0}
    settings["sources"]["second"] = settings["sources"]["between"] | {"url": f"https://127.0.0.1:{source}/second.crl"}
    good = serve(shown(file=file))
    file.write_bytes(crl())
    settings["sources"]["third"] = settings["sources"]["between"] | {"url": f"https://127.0.0.1:{good}/third.crl"}
    settings["ports"] = [443, source, good]
    found = [fetch(settings, tmp_path) for _ in range(3)]
    unreachable = "N-UNREACHABLE"
    assert found == [
        Fetched((), {"between": unreachable}), Fetched((), {"second": unreachable}), Fetched(("third",), {}),
    ]  # fmt: skip
    assert len(asked.read_text().splitlines()) == 2


def test_a_policy_can_switch_responders_off_too(serve: Serve, file: Path) -> None:
    certificate = leaf(serial)
    port, responder = serve(shown(certificate)), serve(shown(file=file))
    file.write_bytes(answer(certificate))
    settings = responding(port, responder)
    assert codes(admission(port, settings | {"policy": settings["policy"] | {"fetch": False}})) == {"R-CRL-MISSING"}
    assert not file.with_suffix(".asked").exists()
