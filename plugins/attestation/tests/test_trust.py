"""The trust store: sequences that only grow, changes that are there at once, rotation that gives no wrong verdict."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from attest.audit import read_line
from attestation import Stores
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pki import DAY
from servers import Shown, pem
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
    serial,
    serve,
    shown,
    stage,
)
from world.auditlog import AuditLog
from world.settings import BadSettings, overlaid, read_settings
from world.trust import Kind, OlderSequence, TrustStore

assert data and serve  # fixtures


@pytest.fixture
def store(tmp_path: Path) -> TrustStore:
    return TrustStore(tmp_path / "trust.db")


def test_sequences_only_grow(store: TrustStore) -> None:
    assert store.put(Kind.ANCHORS, "own", b"a").sequence == 1
    assert store.put(Kind.ANCHORS, "own", b"b", sequence=7).sequence == 7
    for number in (7, 6, 0):
        with pytest.raises(OlderSequence):
            store.put(Kind.ANCHORS, "own", b"a", sequence=number)
    assert store.put(Kind.ANCHORS, "other", b"c").sequence == 1


def test_what_was_removed_does_not_come_back_as_it_was(store: TrustStore) -> None:
    store.put(Kind.ANCHORS, "own", b"a", sequence=3)
    store.put(Kind.ANCHORS, "own", None)
    with pytest.raises(OlderSequence):
        store.put(Kind.ANCHORS, "own", b"a", sequence=3)
    assert store.snapshot().of(Kind.ANCHORS)["own"].data is None


def test_every_change_is_counted_and_a_refused_one_is_none(store: TrustStore) -> None:
    store.put(Kind.CRL, "own", b"a", sequence=2)
    with pytest.raises(OlderSequence):
        store.put(Kind.CRL, "own", b"a", sequence=1)
    assert store.change() == store.snapshot().change == 1


def test_workers_that_start_at_once_in_a_new_directory_all_start(tmp_path: Path) -> None:
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        waiting, gate = os.pipe()
        children = []
        for _ in range(6):
            child = os.fork()
            if child == 0:
                status = 1
                with suppress(Exception):
                    os.close(gate)
                    os.read(waiting, 1)  # until all are there
                    Stores.at(folder)
                    status = 0
                os._exit(status)
            children.append(child)
        os.close(gate)
        os.close(waiting)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6


def test_a_policy_in_the_store_that_names_no_configured_anchors_is_an_error_and_recorded(
    serve: Callable[[Shown], int], store: TrustStore, data: Path
) -> None:
    port = serve(shown())
    settings = config(port, TLS)
    policy = json.loads(json.dumps(settings["policy"]))
    policy["servers"][0]["identity"]["anchors"] = ["nobody"]
    store.put(Kind.POLICY, "policy", json.dumps(policy).encode())
    decided = admission(port, settings, data)
    assert codes(decided) == {"A-STORE"} and decided.violation is not None and decided.violation.retry_after_ms
    (line,) = AuditLog(data / "audit.jsonl").lines()
    assert read_line(line)["codes"] == ["A-STORE"]


@pytest.mark.parametrize("kind", [Kind.ANCHORS, Kind.BUNDLE])
def test_an_anchor_that_was_removed_after_the_handshake_admits_nobody(
    serve: Callable[[Shown], int], store: TrustStore, kind: Kind
) -> None:
    """Between the handshake and the verdict there may be a challenge, which takes its time."""
    is_svid = kind is Kind.BUNDLE
    port = serve(shown(leaf(lambda draft: None, WORKLOAD) if is_svid else leaf()))
    settings = config(port, SVID if is_svid else TLS)
    who = stage("identity", port, settings).out["result"]
    assert stage("appraise", port, settings, identity=who).out["verdict"] == "admit"
    store.put(kind, OWN if is_svid else "own", None)
    assert codes(stage("appraise", port, settings, identity=who)) == {"X-ANCHOR-UNKNOWN"}


def test_more_lists_than_are_looked_at_are_an_error_even_under_soft(
    serve: Callable[[Shown], int], store: TrustStore
) -> None:
    """Else the newest, which revokes the server, would be the one that nobody looks at."""
    port = serve(shown(leaf(serial)))
    settings = config(port, {**TLS, "revocation": "soft"})
    assert admission(port, settings).out["verdict"] == "admit"
    store.put(Kind.CRL, "own", "".join((*lists() * 32, *lists(77))).encode())
    assert codes(admission(port, settings)) == {"A-STORE"}


def test_a_removed_anchor_is_gone_for_the_next_call(serve: Callable[[Shown], int], store: TrustStore) -> None:
    port = serve(shown())
    settings = config(port, TLS)
    assert admission(port, settings).out["verdict"] == "admit"
    store.put(Kind.ANCHORS, "own", None)
    assert codes(admission(port, settings)) == {"X-ANCHOR-UNKNOWN"}
    store.put(Kind.ANCHORS, "own", pem(ROOT.der).encode())
    assert admission(port, settings).out["verdict"] == "admit"


def test_a_new_revocation_is_there_for_the_next_call(serve: Callable[[Shown], int], store: TrustStore) -> None:
    port = serve(shown(leaf(serial)))
    settings = config(port, TLS)
    assert admission(port, settings).out["verdict"] == "admit"
    made = BETWEEN.crl(77, number=8, begin=NOW, end=NOW.replace(year=NOW.year + 1))
    store.put(Kind.CRL, "between", x509.load_der_x509_crl(made).public_bytes(Encoding.PEM))
    assert codes(admission(port, settings)) == {"R-REVOKED"}


def test_a_removed_bundle_revokes_its_trust_domain(serve: Callable[[Shown], int], store: TrustStore) -> None:
    port = serve(shown(leaf(lambda draft: None, WORKLOAD)))
    settings = config(port, SVID)
    assert admission(port, settings).out["verdict"] == "admit"
    store.put(Kind.BUNDLE, "prod.example", None)
    assert codes(admission(port, settings)) == {"S-BUNDLE-EMPTY"}
    assert bundle()["spiffe_sequence"] == 1


def test_rotation_under_load_is_never_half_done(tmp_path: Path, store: TrustStore) -> None:
    """While two sets are swapped back and forth together, no reader sees one of them without the other."""
    both = (pem(ROOT.der) + pem(FAR.der)).encode()
    store.put(Kind.ANCHORS, "own", pem(ROOT.der).encode())
    child = os.fork()
    if child == 0:
        for _ in range(60):
            for made in (both, pem(FAR.der).encode(), both, pem(ROOT.der).encode()):
                store.put(Kind.ANCHORS, "own", made)
        os._exit(0)
    settings = read_settings(config(443, TLS), {})
    seen = set()
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        found = overlaid(settings, store.snapshot()).anchors["own"].certificates
        seen.add(frozenset(one.der for one in found))
    assert seen <= {frozenset({ROOT.der}), frozenset({ROOT.der, FAR.der}), frozenset({FAR.der})}
    assert len(seen) > 1 and frozenset() not in seen


CALLERS, CALLS, LEAST_SWAPS = 4, 16, 6


def registering(port: int, settings: dict[str, Any], file: Path, done: int) -> None:
    """Register again and again, and write down when each call began and ended and what it came to."""
    with file.open("w") as said:
        for _ in range(CALLS):
            begun = monotonic()
            found = admission(port, settings)
            verdict = "admit" if found.out.get("verdict") == "admit" else " ".join(sorted(codes(found)))
            said.write(json.dumps([begun, monotonic(), verdict]) + "\n")
            os.write(done, b".")


def test_registrations_while_anchors_rotate_get_no_wrong_verdict(
    serve: Callable[[Shown], int], store: TrustStore, tmp_path: Path
) -> None:
    """Several processes register at once. A call that saw one set alone has the verdict of that set."""
    port = serve(shown())
    settings = config(port, TLS)
    good, bad = pem(ROOT.der).encode(), pem(FAR.der).encode()
    files = [tmp_path / f"caller{number}" for number in range(CALLERS)]
    store.put(Kind.ANCHORS, "own", good)
    reading, done = os.pipe()
    children = []
    for file in files:
        child = os.fork()
        if child == 0:
            with suppress(Exception):
                registering(port, settings, file, done)
            os._exit(0)
        children.append(child)
    os.close(done)
    changes: list[tuple[float, float, bytes]] = []
    # After two calls of each caller the next change: of the second of them nearly all lies between two changes.
    while os.read(reading, 1):
        begun, made = monotonic(), good if len(changes) % 2 else bad
        store.put(Kind.ANCHORS, "own", made)
        changes.append((begun, monotonic(), made))
        for _ in range(2 * CALLERS - 1):
            os.read(reading, 1)
    os.close(reading)
    for child in children:
        os.waitpid(child, 0)
    judged = Counter[str]()
    for begun, ended, verdict in (json.loads(line) for file in files for line in file.read_text().splitlines()):
        before = [made for _, until, made in changes if until <= begun]
        is_alone = not any(since <= ended and until >= begun for since, until, _ in changes)
        held = before[-1] if before else good
        judged[verdict] += 1
        if is_alone:
            assert verdict == ("admit" if held == good else "X-ANCHOR-UNKNOWN")
            judged["alone"] += 1
    assert judged["admit"] + judged["X-ANCHOR-UNKNOWN"] == CALLERS * CALLS
    assert judged["alone"] > 0 and len(changes) >= LEAST_SWAPS
    assert judged["admit"] and judged["X-ANCHOR-UNKNOWN"]


def test_what_ends_soon_is_told_in_time(serve: Callable[[Shown], int], caplog: pytest.LogCaptureFixture) -> None:
    port = serve(shown())
    long = x509.load_der_x509_crl(BETWEEN.crl(begin=NOW - 9 * DAY, end=NOW + 90 * DAY)).public_bytes(Encoding.PEM)
    late = x509.load_der_x509_crl(BETWEEN.crl(begin=NOW - 99 * DAY, end=NOW + DAY)).public_bytes(Encoding.PEM)
    settings = config(port, TLS) | {"crls": [lists()[0], long.decode()]}
    root = f"anchors own: CN=root now ends {(NOW + 30 * DAY).isoformat()}"  # and so does that of the bundle
    assert [one for one in admission(port, settings).out["warnings"] if "bundle" not in one] == [root]
    found = admission(port, settings | {"crls": [lists()[0], late.decode()]})
    last = f"list 7 of CN=between now ends {(NOW + DAY).isoformat()}"
    assert [one for one in found.out["warnings"] if "bundle" not in one] == [last, root]
    assert "attestation.ends_soon" in caplog.text


def test_an_item_that_cannot_be_used_is_no_item_to_go_on_without(store: TrustStore) -> None:
    store.put(Kind.ANCHORS, "own", b"not PEM")
    with pytest.raises(BadSettings):
        overlaid(read_settings(config(443, TLS), {}), store.snapshot())


def test_a_policy_of_the_store_stands_in_the_place_of_the_configured_one(store: TrustStore) -> None:
    text = b"version: 1\nservers: [{name: x, match: 'https://x.example/*', identity: {kind: tls, anchors: [own]}}]"
    store.put(Kind.POLICY, "policy", text)
    assert overlaid(read_settings(config(443, TLS), {}), store.snapshot()).policy.rules[0].name == "x"


def rule(store: TrustStore, *made: bytes) -> None:
    """Put these lists in the place of those that the store had."""
    text = b"".join(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM) for der in made)
    store.put(Kind.CRL, "between", text)


def between(*revoked: int, number: int) -> bytes:
    return BETWEEN.crl(*revoked, number=number, begin=NOW - DAY, end=NOW + DAY)


def test_a_list_older_than_one_that_was_found_good_is_refused(serve: Callable[[Shown], int], store: TrustStore) -> None:
    """Also if the newer one was met with a server that it revokes, and with no other."""
    port = serve(shown(leaf(serial)))
    settings = config(port, TLS) | {"crls": lists()[:1]}
    rule(store, between(77, number=9))
    assert codes(admission(port, settings)) == {"R-REVOKED"}
    rule(store, between(number=8))
    assert codes(admission(port, settings)) == {"R-CRL-ROLLBACK"}
    rule(store, between(number=2**150))
    assert admission(port, settings).out["verdict"] == "admit"
    rule(store, between(number=2**150 - 1))
    assert codes(admission(port, settings)) == {"R-CRL-ROLLBACK"}


def test_a_list_that_nobody_signed_raises_no_number(serve: Callable[[Shown], int], store: TrustStore) -> None:
    """Else whoever can hand over bytes could shut everybody out."""
    port = serve(shown())
    settings = config(port, TLS) | {"crls": lists()[:1]}
    bad = BETWEEN.crl(number=99, begin=NOW - DAY, end=NOW + DAY, private=FAR.private)
    rule(store, bad, between(number=7))
    assert admission(port, settings).out["verdict"] == "admit"
    rule(store, between(number=8))
    assert admission(port, settings).out["verdict"] == "admit"


def test_numbers_of_other_scopes_are_other_numbers(serve: Callable[[Shown], int], store: TrustStore) -> None:
    """RFC 5280 section 5.2.3."""

    def for_authorities(builder: x509.CertificateRevocationListBuilder) -> x509.CertificateRevocationListBuilder:
        scope = x509.IssuingDistributionPoint(None, None, False, True, None, False, False)
        return builder.add_extension(scope, critical=True)

    port = serve(shown())
    settings = config(port, TLS) | {"crls": []}
    root = ROOT.crl(change=for_authorities, number=500, begin=NOW - DAY, end=NOW + DAY)
    rule(store, root, between(number=3))
    assert admission(port, settings).out["verdict"] == "admit"
    rule(store, ROOT.crl(number=4, begin=NOW - DAY, end=NOW + DAY), between(number=3))
    assert admission(port, settings).out["verdict"] == "admit"


def test_a_bundle_older_than_one_that_was_used_is_refused(serve: Callable[[Shown], int], store: TrustStore) -> None:
    port = serve(shown(leaf(lambda draft: None, WORKLOAD)))
    settings = config(port, SVID)

    def put(sequence: int) -> None:
        store.put(Kind.BUNDLE, "prod.example", json.dumps({**bundle(), "spiffe_sequence": sequence}).encode())

    put(7)
    assert admission(port, settings).out["verdict"] == "admit"
    put(6)
    assert codes(admission(port, settings)) == {"S-BUNDLE-ROLLBACK"}
    store.put(Kind.BUNDLE, "prod.example", None)
    assert codes(admission(port, settings)) == {"S-BUNDLE-EMPTY"}
    put(8)
    assert admission(port, settings).out["verdict"] == "admit"
