"""`attest verify`: a file verified as the stages would, at any time."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from attest.bundles import Bundle, read_bundle
from attest.chain import verify_chain
from attest.jwtsvid import TokenRules, verify_jwt_svid
from attest.policy import Policy, Rule, SvidIdentity, TlsIdentity, read_policy
from attest.revocation import Collateral
from attest.search import Anchors
from attest.urls import read_url
from attest.verdict import Outcome, Verdict
from attest.x509svid import SvidRules, verify_x509_svid
from world.settings import pem_blocks
from world.trust import Kind, Snapshot, TrustStore

__all__ = ["add_verify"]

_KINDS = ("tls", "x509-svid", "jwt-svid")


def add_verify(verify: argparse.ArgumentParser) -> None:
    """Describe the command."""
    verify.add_argument("file", type=Path, metavar="FILE", help="a chain in PEM, or a token")
    verify.add_argument("--kind", required=True, choices=_KINDS)
    verify.add_argument("--policy", required=True, type=Path)
    verify.add_argument("--rule", help="the rule to hold it to; default: that for --url, or the only one of this kind")
    verify.add_argument("--url", help="for tls: the URL that the server was asked under")
    verify.add_argument("--anchors", type=Path, help="for tls: the anchors, in PEM; default: those of the trust store")
    verify.add_argument(
        "--bundle", type=Path, help="for identities: the bundle of --trust-domain; default: the store's"
    )
    verify.add_argument("--trust-domain", default="", help="for identities: whose bundle it is")
    verify.add_argument("--audience", action="append", default=[], help="for jwt-svid: an audience that is taken")
    verify.add_argument("--crl", action="append", default=[], type=Path, help="a list, in PEM, beside the store's")
    verify.add_argument("--at", type=datetime.fromisoformat, help="the time to verify at; default: now")
    verify.set_defaults(run=_verify)


def _verify(given: argparse.Namespace) -> int:
    rule = _rule(read_policy(given.policy.read_bytes()), given)
    at = given.at or datetime.now(UTC)
    if at.tzinfo is None:
        raise ValueError("--at needs an offset, such as 2026-01-01T00:00:00+00:00")
    stored = _stored(given.data)
    outcome = _outcome(given, rule, at, stored)
    print(json.dumps(_told(outcome), indent=2))
    return 0 if outcome.verdict is Verdict.ADMIT else 1


def _stored(data: Path | None) -> Snapshot:
    """What the trust store holds; nothing where there is none."""
    file = None if data is None else data / "trust.db"
    return TrustStore(file).snapshot() if file is not None and file.exists() else Snapshot(0, ())


def _rule(policy: Policy, given: argparse.Namespace) -> Rule:
    if given.rule:
        named = [rule for rule in policy.rules if rule.name == given.rule]
    elif given.url:
        found = policy.rule_for(read_url(given.url))
        named = [found] if found is not None else []
    else:
        named = [rule for rule in policy.rules if _is_for(rule, given.kind)]
    if len(named) != 1:
        which = given.rule or given.url or f"for {given.kind}"
        raise ValueError(f"the policy has {len(named) or 'no'} rules {which}: say --rule")
    return named[0]


def _is_for(rule: Rule, kind: str) -> bool:
    if kind == "jwt-svid":
        return rule.evidence is not None and kind in rule.evidence.require
    return isinstance(rule.identity, TlsIdentity if kind == "tls" else SvidIdentity)


def _outcome(given: argparse.Namespace, rule: Rule, at: datetime, stored: Snapshot) -> Outcome:
    data, identity = given.file.read_bytes(), rule.identity
    kept = [item.data.decode() for item in stored.of(Kind.CRL).values() if item.data is not None]
    lists = tuple(der for text in (*kept, *(file.read_text() for file in given.crl)) for der in pem_blocks(text))
    collateral = Collateral(crls=lists, numbers=stored.seen.get(Kind.CRL, {}))
    if given.kind == "tls":
        if not isinstance(identity, TlsIdentity) or not given.url:
            raise ValueError("tls needs a rule of that kind, and --url")
        rules = identity.rules(read_url(given.url))
        return verify_chain(pem_blocks(data.decode()), _anchors(given, identity, stored), rules, at, collateral)
    bundles = _bundles(given, stored)
    if given.kind == "x509-svid":
        if not isinstance(identity, SvidIdentity):
            raise ValueError("x509-svid needs a rule of that kind")
        held = SvidRules(identity.allowed, identity.rules())
        return verify_x509_svid(pem_blocks(data.decode()), bundles, held, at, collateral)
    allowed = rule.evidence.allowed if rule.evidence is not None else ()
    return verify_jwt_svid(data.strip(), bundles, TokenRules(frozenset(given.audience), allowed), at)


def _anchors(given: argparse.Namespace, identity: TlsIdentity, stored: Snapshot) -> Anchors:
    if given.anchors:
        return Anchors.of(pem_blocks(given.anchors.read_text()))
    items = [stored.of(Kind.ANCHORS).get(name) for name in identity.anchors]
    texts = [item.data.decode() for item in items if item is not None and item.data is not None]
    if not texts:
        raise ValueError(f"the trust store has no anchors {', '.join(identity.anchors)}: say --anchors")
    return Anchors.of([der for text in texts for der in pem_blocks(text)])


def _bundles(given: argparse.Namespace, stored: Snapshot) -> Mapping[str, Bundle]:
    if given.bundle:
        if not given.trust_domain:
            raise ValueError("--bundle needs --trust-domain")
        return {given.trust_domain: read_bundle(given.trust_domain, given.bundle.read_bytes())}
    kept = {name: item.data for name, item in stored.of(Kind.BUNDLE).items() if item.data is not None}
    if not kept:
        raise ValueError("the trust store has no bundle: say --bundle and --trust-domain")
    return {name: read_bundle(name, data) for name, data in kept.items()}


def _told(outcome: Outcome) -> dict[str, object]:
    return {
        "verdict": outcome.verdict.value,
        "retryable": outcome.retryable,
        "reasons": [
            {"code": one.code, "path": one.path, "expected": one.expected, "actual": one.actual}
            for one in outcome.reasons
        ],
        "checks": [
            {"name": one.name, "path": one.path, "result": one.result.value, "why": one.why} for one in outcome.checks
        ],
    }
