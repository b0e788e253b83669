"""From results to one verdict: what the policy asks for, who has shown it, and the record of that."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from attest.appraisal import FRESH, Appraisal, appraise
from attest.codes import GROUPS
from attest.evidence import KINDS
from attest.policy import BadPolicy, Drift, Policy, SvidIdentity, TlsIdentity, read_policy
from attest.results import BadResult, StageResult, read_result
from attest.rules import Revocation
from attest.spiffe import read_id
from attest.strictjson import NotJson, read_object
from attest.urls import BadUrl, read_pattern, read_url
from attest.verdict import Check, Outcome, Reason, Result, Verdict
from pki import AT

POLICY_TEXT = """
version: 1
servers:
  - name: billing
    match: https://billing.corp.example/*
    identity: {kind: tls, anchors: [corp], revocation: off}
    evidence: {require: [jwt-svid], allowed: ["spiffe://prod.example/billing/*"]}
  - name: corp
    match: https://*.corp.example/*
    identity: {kind: tls, anchors: [corp], profile: private, names: ["*.corp.example"]}
    drift: require-approval
  - name: workloads
    match: spiffe://prod.example/*
    identity: {kind: x509-svid, allowed: ["spiffe://prod.example/*"]}
"""
POLICY = read_policy(POLICY_TEXT.encode())
CORP, BILLING = read_url("https://mcp.corp.example/"), read_url("https://billing.corp.example/mcp")
PASSED = Check("signature", "chain[0]", Result.PASS)


def found(kind: str = "identity", server: object = CORP, *reasons: Reason, **more: Any) -> StageResult:
    claims = more.pop("claims", {"rule": "billing" if server is BILLING else "corp"})
    given = {"policy": POLICY.digest.hex(), "at": AT, "pop": True, **more}
    return StageResult(kind, str(server), outcome=Outcome((PASSED,), reasons, claims), **given)


def appraised(*results: StageResult, url: Any = CORP) -> Appraisal:
    return appraise(POLICY, url, results, AT)


CASES: dict[str, Callable[[], Appraisal]] = {
    "A-NO-RULE": lambda: appraised(
        found(server="https://elsewhere.example/"), url=read_url("https://elsewhere.example/")
    ),
    "A-IDENTITY-MISSING": appraised,
    "A-RESULT-OTHER": lambda: appraised(found(server="https://other.corp.example/", claims={"rule": "corp"}), found()),
    "A-RESULT-RULE": lambda: appraised(found(claims={"rule": "billing"})),
    "A-RESULT-POLICY": lambda: appraised(found(policy="00" * 32), found()),
    "A-RESULT-STALE": lambda: appraised(found(at=AT - FRESH - timedelta(seconds=1)), found()),
    "M-POP": lambda: appraised(found(pop=False)),
    "C-KIND-MISSING": lambda: appraised(found(server=BILLING), url=BILLING),
}


def test_what_a_rule_asks_for_and_a_server_shows_is_admitted() -> None:
    assert appraised(found()).outcome.verdict is Verdict.ADMIT
    shown = [found(server=BILLING), found("jwt-svid", BILLING)]
    assert appraised(*shown, url=BILLING).outcome.verdict is Verdict.ADMIT


@pytest.mark.parametrize("code", CASES)
def test_only_what_is_missing_is_reported(code: str) -> None:
    outcome = CASES[code]().outcome
    assert outcome.codes == {code}, outcome.reasons
    assert outcome.verdict is Verdict.DENY or (code == "A-RESULT-POLICY" and outcome.retryable)


def test_every_code_of_appraisal_has_its_case() -> None:
    assert set(GROUPS["Appraisal"]) <= set(CASES) | {"A-RESULT-FORM", "A-STORE", "A-REGO-DENY", "A-REGO-ERROR"}


def test_the_verdict_is_the_worst_of_all_stages_and_keeps_every_code() -> None:
    lacking, bad = Reason("R-CRL-MISSING", "chain[0]"), Reason("J-EXPIRED", "token.claims")
    assert appraised(found("identity", CORP, lacking)).outcome.retryable
    both = appraised(found("identity", BILLING, lacking), found("jwt-svid", BILLING, bad), url=BILLING).outcome
    assert both.verdict is Verdict.DENY
    assert both.codes == {"R-CRL-MISSING", "J-EXPIRED"}


def test_the_first_rule_for_a_server_counts() -> None:
    rules = [POLICY.rule_for(url) for url in (BILLING, CORP, read_url("https://corp.example/"))]
    assert [rule.name if rule else None for rule in rules] == ["billing", "corp", None]


def test_a_rule_for_the_url_counts_before_one_for_the_identity() -> None:
    text = f"{POLICY_TEXT.partition('servers:')[0]}servers:{POLICY_TEXT.partition('drift: require-approval')[2]}" + (
        "  - {name: api, match: 'https://api.corp.example/*', "
        "identity: {kind: x509-svid, allowed: ['spiffe://prod.example/api']}}\n"
    )
    policy, identity = read_policy(text.encode()), read_id("spiffe://prod.example/api")
    chosen = [policy.rule_for(read_url(f"https://{host}.corp.example/"), identity) for host in ("api", "else")]
    assert [rule.name if rule else None for rule in chosen] == ["api", "workloads"]


@pytest.mark.parametrize("word", ["client-certificate: demand", "tls: '1.2'"])
def test_rules_that_an_identity_chooses_want_one_handshake(word: str) -> None:
    """The handshake is over before anybody knows which of them counts."""
    more = f"  - {{name: more, match: 'spiffe://prod.example/x/*', identity: {{kind: x509-svid, {word}, allowed: "
    text = f"{POLICY_TEXT}{more}['spiffe://prod.example/x/*']}}}}\n"
    with pytest.raises(BadPolicy, match="client-certificate or tls"):
        read_policy(text.encode())
    assert read_policy(text.replace(f"{word}, ", "").encode()).rules


def test_a_rule_for_an_identity_counts_only_once_it_is_verified() -> None:
    url = read_url("https://10.0.0.7/")
    claims = {"rule": "workloads", "spiffe_id": "spiffe://prod.example/api"}
    assert appraised(found(server=url, claims=claims), url=url).outcome.verdict is Verdict.ADMIT
    handed_over = found(server=url, claims=claims, pop=False)
    assert appraised(handed_over, url=url).outcome.codes == {"A-NO-RULE", "M-POP"}
    expired = found("identity", url, Reason("X-EXPIRED", "chain[0]"), pop=False, judged="ab" * 32, claims={})
    assert appraised(expired, url=url).outcome.codes == {"X-EXPIRED", "M-POP"}
    unreachable = found("identity", url, Reason("N-UNREACHABLE", "connection"), pop=False)
    assert appraised(unreachable, url=url).outcome.retryable


def test_the_result_has_the_form_of_ear() -> None:
    admitted, refused = appraised(found()), appraised(found("identity", CORP, Reason("X-SIG", "chain[0]")))
    ear: Any = admitted.ear("bm9uY2U")
    assert json.loads(json.dumps(ear)) == {
        "eat_profile": "tag:github.com,2023:veraison/ear",
        "eat_nonce": "bm9uY2U",
        "iat": int(AT.timestamp()),
        "ear.verifier-id": {"developer": "penstock", "build": "attestation 1"},
        "submods": {
            "https://mcp.corp.example/": {
                "ear.status": "affirming",
                "ear.trustworthiness-vector": {"instance-identity": 2},
                "ear.appraisal-policy-id": f"sha256:{POLICY.digest.hex()}",
                "ear.penstock.codes": [],
                "ear.penstock.rule": "corp",
            }
        },
    }
    submodule: Any = refused.ear()["submods"]
    assert submodule["https://mcp.corp.example/"]["ear.status"] == "contraindicated"


@pytest.mark.parametrize(
    ("code", "claim"), [("X-SIG", 99), ("X-ANCHOR-UNKNOWN", 97), ("X-EXPIRED", 96), ("R-CRL-MISSING", 0)]
)
def test_nothing_is_affirmed_that_was_not_found_good(code: str, claim: int) -> None:
    ear: Any = appraised(found("identity", CORP, Reason(code, "chain[0]"))).ear()
    assert ear["submods"][str(CORP)]["ear.trustworthiness-vector"] == {"instance-identity": claim}


def test_a_result_is_read_as_it_was_written() -> None:
    written = found("identity", CORP, Reason("X-EXPIRED", "chain[0]", "a", "b"))
    assert read_result(json.loads(json.dumps(written.as_json()))) == written
    timed = replace(written, outcome=replace(written.outcome, checks=(PASSED._replace(us=41.125),)))
    assert read_result(json.loads(json.dumps(timed.as_json()))) == timed


@pytest.mark.parametrize(
    "change", [{"v": 2}, {"pop": "yes"}, {"more": 1}, {"at": 1e30}, {"reasons": [{"code": "X-UNHEARD", "path": ""}]}]
)
def test_what_is_no_result_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadResult):
        read_result({**found().as_json(), **change})


def test_words_of_a_policy_mean_what_they_say() -> None:
    first, second, third = POLICY.rules
    assert isinstance(first.identity, TlsIdentity) and first.identity.revocation is Revocation.OFF
    assert (first.drift, second.drift) == (Drift.DENY, Drift.APPROVE)
    assert isinstance(second.identity, TlsIdentity) and second.identity.rules(CORP).peers == ("mcp.corp.example",)
    assert isinstance(third.identity, SvidIdentity) and third.identity.rules().pins == frozenset()


def test_the_digest_is_of_what_a_policy_says_and_not_of_how_it_is_laid_out() -> None:
    assert read_policy(b"# a remark\n" + POLICY_TEXT.encode()).digest == POLICY.digest
    assert read_policy(POLICY_TEXT.replace("off", "soft").encode()).digest != POLICY.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("revocation: off", "revocation: of"),
        ("evidence:", "evidnce:"),
        ("require: [jwt-svid]", "require: [jwt-svid, jwt-svid]"),
        ("anchors: [corp]", "anchors: corp"),
        ("version: 1", "version: 2"),
        ("version: 1", "version: 1\nversion: 1"),
        ("name: corp", "name: billing"),
        ("https://*.corp.example/*", "https://*/*"),
        ("https://*.corp.example/*", "https://*.example/*"),
        ("https://*.corp.example/*", "http://corp.example/*"),
        ("https://*.corp.example/*", "*"),
        ("https://*.corp.example/*", "spiffe://prod.example/*"),
        ('["spiffe://prod.example/*"]', "[]"),
        ("spiffe://prod.example/billing/*", "spiffe://*"),
        ("spiffe://prod.example/billing/*", "prod.example/billing/*"),
        ('names: ["*.corp.example"]', 'names: ["*"]'),
        ('names: ["*.corp.example"]', 'names: ["https://a.corp.example"]'),
        ("anchors: [corp]", "anchors: []"),
        ("spiffe://prod.example/*", "spiffe://PROD/*"),
        ("name: corp", "name: &a corp"),
        ("drift: require-approval", "drift: !!str allow"),
        ("version: 1", "version: yes"),
    ],
)
def test_a_policy_that_says_anything_else_is_refused(old: str, new: str) -> None:
    with pytest.raises(BadPolicy):
        read_policy(POLICY_TEXT.replace(old, new, 1).encode())


@pytest.mark.parametrize(("kind", "hint"), [("jwt-svidd", "; did you mean 'jwt-svid'?"), ("abacus", "")])
def test_a_kind_of_evidence_that_nobody_verifies_is_refused_at_its_place(kind: str, hint: str) -> None:
    """It would deny everybody, and nobody would know why."""
    with pytest.raises(BadPolicy) as caught:
        read_policy(POLICY_TEXT.replace("require: [jwt-svid]", f"require: [jwt-svid, {kind}]").encode())
    known = ", ".join(sorted(KINDS))
    assert str(caught.value) == (
        f"rule billing: `{kind}` is no kind of evidence, the kinds are {known}{hint} "
        "- at `$.servers[0].evidence.require[1]`"
    )


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("https://Server.Example", "https://server.example/"),
        ("https://server.example:443/a/./b/../c", "https://server.example/a/c"),
        ("https://server.example:8443/%7euser/%2f", "https://server.example:8443/~user/%2F"),
        ("https://10.0.0.7/x", "https://10.0.0.7/x"),
        ("https://[2001:DB8:0::1]/", "https://[2001:db8::1]/"),
        ("https://server.example/a/..", "https://server.example/"),
        ("https://server.example/../../a//b/", "https://server.example/a//b/"),
    ],
)
def test_a_server_has_one_url(text: str, canonical: str) -> None:
    assert str(read_url(text)) == canonical
    assert str(read_url(canonical)) == canonical


URL_CASES = {
    "http://server.example/": "U-SCHEME",
    "//server.example/": "U-SCHEME",
    "HTTPS://server.example/": "U-SCHEME",
    "https://user@server.example/": "U-USERINFO",
    "https://good.example@bad.example/": "U-USERINFO",
    "https://server.example/#x": "U-FRAGMENT",
    "https://server.example/?a=b": "U-SYNTAX",
    "https://server.example/a b": "U-SYNTAX",
    "https://server.example\\@bad.example/": "U-SYNTAX",
    "https://sërver.example/": "U-SYNTAX",
    "https://server.example/\x00": "U-SYNTAX",
    "https://server.example/%zz": "U-SYNTAX",
    "https://server.example:0/": "U-PORT",
    "https://server.example:65536/": "U-PORT",
    "https://server.example:/": "U-PORT",
    "https://server.example:0443/": "U-PORT",
    "https:///": "U-HOST",
    "https://127.1/": "U-HOST",
    "https://0x7f.0.0.1/": "U-HOST",
    "https://2130706433/": "U-HOST",
    "https://017.0.0.1/": "U-HOST",
    "https://[fe80::1%25eth0]/": "U-HOST",
    "https://*.server.example/": "U-HOST",
    "https://-server.example/": "U-HOST",
    "https://" + "a" * 2048: "U-SYNTAX",
}


@pytest.mark.parametrize("text", URL_CASES)
def test_what_is_no_url_of_a_server_says_why(text: str) -> None:
    with pytest.raises(BadUrl) as caught:
        read_url(text)
    assert caught.value.code == URL_CASES[text]


def test_every_code_of_urls_has_its_case() -> None:
    assert set(GROUPS["URLs of servers"]) == set(URL_CASES.values())


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("https://*.corp.example/*", "https://a.corp.example/x/y", "https://a.b.corp.example/"),
        ("https://*.corp.example/*", "https://a.corp.example/", "https://corp.example/"),
        ("https://a.corp.example/mcp", "https://a.corp.example/mcp", "https://a.corp.example/mcp/x"),
        ("https://a.corp.example/mcp/*", "https://a.corp.example/mcp/", "https://a.corp.example/mcpx/"),
        ("https://a.corp.example:8443/*", "https://a.corp.example:8443/", "https://a.corp.example/"),
        ("https://10.0.0.7/*", "https://10.0.0.7/", "https://10.0.0.70/"),
        ("https://a.corp.example/mcp/*", "https://a.corp.example/mcp/x", "https://a.corp.example/mcp/../x"),
    ],
)
def test_a_pattern_covers_what_it_says_and_no_more(pattern: str, inside: str, outside: str) -> None:
    assert read_pattern(pattern).covers(read_url(inside))
    assert not read_pattern(pattern).covers(read_url(outside))


def test_no_single_flipped_bit_of_a_record_names_a_server_that_has_a_rule() -> None:
    """A letter of the host in the other case is the same server, and nothing else is admitted."""
    policy = read_policy(
        POLICY_TEXT.replace("https://billing.corp.example/*", "https://billing.corp.example/mcp").encode()
    )
    record = b'{"url":"https://billing.corp.example/mcp"}'
    assert _rule_of(policy, record) == "billing"
    for bit in range(len(record) * 8):
        flipped = bytearray(record)
        flipped[bit // 8] ^= 1 << bit % 8
        is_other_case = b'"url":"https://' in flipped and b"/mcp" in flipped and flipped.lower() == record
        assert _rule_of(policy, bytes(flipped)) in (("billing",) if is_other_case else (None, "corp")), bytes(flipped)


def _rule_of(policy: Policy, record: bytes) -> str | None:
    try:
        rule = policy.rule_for(read_url(str(read_object(record)["url"])))
    except (NotJson, BadUrl, KeyError):
        return None
    return rule.name if rule else None
