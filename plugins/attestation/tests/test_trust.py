"""The trust store: sequences that only grow, changes that are there at once, rotation that gives no wrong verdict."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pki import DAY
from servers import Shown, pem
from test_stages import (
    BETWEEN,
    FAR,
    NOW,
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
)
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
