"""What each verifier costs beside the signatures that it cannot do without: `python tests/bench.py`.

Both are measured in turns in one run, warm, so that a busy machine slows both. The target is 1.25 times the raw
signature operations plus 0.1 ms, at the median.
"""

from __future__ import annotations

import base64
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from attest.certificates import Refused, parse
from attest.chain import verify_chain
from attest.crls import parse_crl
from attest.jwtsvid import verify_jwt_svid
from attest.keys import Signed, verifies
from attest.revocation import Collateral
from attest.rules import Revocation
from attest.search import Anchors
from attest.verdict import Findings, Verdict
from attest.x509svid import verify_x509_svid
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from mutants import good_token
from pki import AT
from test_chain import BETWEEN, PRIVATE, ROOT
from test_spiffe import BUNDLES, RULES, TOKEN_KEY, TOKENS, WORKLOAD
from test_spiffe import ROOT as SPIFFE_ROOT

ROUNDS = 1500
ALLOWED_RATIO, ALLOWED_MS = 1.25, 0.1

Deed = Callable[[], object]


def signatures(*pairs: tuple[bytes, bytes]) -> Deed:
    """The raw operations: each certificate or list under the key of the one above."""
    made = []
    for below, above in pairs:
        signed, key = _signed(below), parse(above).key()
        assert signed is not None and key is not None
        made.append((key, signed))
    return lambda: [verifies(key, signed) for key, signed in made]


def _signed(der: bytes) -> Signed | None:
    try:
        return parse(der).signed
    except Refused:
        return parse_crl(der).signed


def chain() -> tuple[Deed, Deed]:
    leaf, anchors = BETWEEN.leaf(), Anchors.of([ROOT.der])
    chain = [leaf, BETWEEN.der]
    assert verify_chain(chain, anchors, PRIVATE, AT).verdict is Verdict.ADMIT
    return lambda: verify_chain(chain, anchors, PRIVATE, AT), signatures((leaf, BETWEEN.der), (BETWEEN.der, ROOT.der))


def chain_with_lists() -> tuple[Deed, Deed]:
    leaf, anchors, rules = BETWEEN.leaf(), Anchors.of([ROOT.der]), replace(PRIVATE, revocation=Revocation.HARD)
    lists = Collateral(crls=(ROOT.crl(), BETWEEN.crl(*range(10_000, 10_100))))
    assert verify_chain([leaf, BETWEEN.der], anchors, rules, AT, lists).verdict is Verdict.ADMIT
    pairs = (
        (leaf, BETWEEN.der),
        (BETWEEN.der, ROOT.der),
        *((crl, by.der) for crl, by in zip(lists.crls, (ROOT, BETWEEN), strict=True)),
    )
    return lambda: verify_chain([leaf, BETWEEN.der], anchors, rules, AT, lists), signatures(*pairs)


def x509_svid() -> tuple[Deed, Deed]:
    leaf = SPIFFE_ROOT.leaf(lambda draft: None, WORKLOAD)
    assert verify_x509_svid([leaf], BUNDLES, RULES, AT).verdict is Verdict.ADMIT
    return lambda: verify_x509_svid([leaf], BUNDLES, RULES, AT), signatures((leaf, SPIFFE_ROOT.der))


def jwt_svid() -> tuple[Deed, Deed]:
    token = good_token()
    assert verify_jwt_svid(token, BUNDLES, TOKENS, AT).verdict is Verdict.ADMIT
    signed, _, text = token.rpartition(b".")
    raw = base64.urlsafe_b64decode(text + b"==")
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    public = TOKEN_KEY.public_key
    return (
        lambda: verify_jwt_svid(token, BUNDLES, TOKENS, AT),
        lambda: public.verify(signature, signed, ec.ECDSA(SHA256())),
    )


def median_ms(verifier: Deed, raw: Deed) -> tuple[float, float]:
    times: dict[Deed, list[float]] = {verifier: [], raw: []}
    for _ in range(ROUNDS):
        for deed, taken in times.items():
            begun = time.perf_counter()
            deed()
            taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times[verifier]), statistics.median(times[raw])


def main() -> int:
    Findings.timer = time.perf_counter  # as in the plugin: what each check takes is noted too
    missed = 0
    for made in (chain, chain_with_lists, x509_svid, jwt_svid):
        ours, raw = median_ms(*made())
        allowed = raw * ALLOWED_RATIO + ALLOWED_MS
        missed += ours > allowed
        print(f"{made.__name__}: p50 {ours:.3f} ms, its signatures {raw:.3f} ms, ratio {ours / raw:.2f}, "
              f"{'within' if ours <= allowed else 'OVER'} {allowed:.3f} ms")  # fmt: skip
    return missed


if __name__ == "__main__":
    sys.exit(main())
