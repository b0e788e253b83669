"""Who a server is: dialled in one child, verified in another, both of which may die without harm."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from attest.certificates import Refused, parse
from attest.chain import verify_chain
from attest.policy import ClientCertificate, Rule, SvidIdentity, TlsIdentity
from attest.results import StageResult, read_result
from attest.rules import Revocation
from attest.shown import digest_of_chain
from attest.strictjson import Json
from attest.urls import Url
from attest.verdict import Check, Findings, Outcome, Result
from attest.x509svid import SvidRules, claimed_id, verify_x509_svid

from world.connector import NotDialled, Post, dial
from world.sandbox import DIALLING, VERIFYING, Died, run_apart
from world.settings import Settings

__all__ = ["Presented", "identify", "reach"]


_LATE_SECONDS, _LITTLE_LATE_SECONDS = 2.0, 0.25
"""How much longer than it may a child may take: a resolver does not look at the time. Less where somebody waits."""


@dataclass(frozen=True, slots=True)
class Presented:
    """What a server showed, and whether it proved in a handshake that it holds the key."""

    chain: tuple[bytes, ...]
    staple: bytes | None = None
    asked_for_certificate: bool = False
    pop: bool = False
    answer: bytes | None = None


class Refusal(Exception):
    """There is nothing to verify, with the code that says why."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


def identify(
    url: Url,
    settings: Settings,
    at: datetime,
    handed_over: Sequence[bytes] = (),
    remember: Callable[[Mapping[str, int]], None] = lambda numbers: None,
    ask: Callable[[Sequence[bytes], Rule, Settings, datetime], tuple[bytes, ...]] = lambda *_: (),
) -> StageResult:
    """Find out who a server is. `handed_over` is looked at only where nothing is dialled, and proves no possession.

    `remember` is told the numbers of revocation lists that were found good and are newer than those known; `ask` has
    answers (OCSP) about a chain under a rule.
    """
    found = _rules(url, settings)
    if not found:
        return _ended(url, settings, at, "A-NO-RULE", "policy", "a rule that may be for the server", str(url))
    identity = found[0].identity
    try:
        presented = reach(url, settings, identity) if settings.handshake else Presented(tuple(handed_over))
    except Refusal as refusal:
        return _ended(url, settings, at, refusal.code, "connection", "a handshake", "none")
    pop, judged = presented.pop, digest_of_chain(presented.chain)
    asking = next((rule for rule in found if rule.identity.revocation is not Revocation.OFF), None)
    answers = settings.collateral.answers + (ask(presented.chain, asking, settings, at) if asking is not None else ())
    settings = replace(settings, collateral=replace(settings.collateral, answers=answers))
    try:
        answer = run_apart(lambda: _judged(url, settings, at, presented, found), VERIFYING)
    except Died as death:
        ended = _ended(url, settings, at, death.code, "verifier", "an outcome", str(death), pop=pop)
        return replace(ended, judged=judged)
    known, used = settings.collateral.numbers, answer["lists"]
    newer = {one: int(str(number)) for one, number in used.items()} if isinstance(used, dict) else {}
    newer = {one: number for one, number in newer.items() if number > known.get(one, -1)}
    if newer:
        remember(newer)
    return replace(read_result(answer["result"]), pop=pop, judged=judged)


def _judged(url: Url, settings: Settings, at: datetime, presented: Presented, rules: Sequence[Rule]) -> dict[str, Json]:
    """What the child answers: the result, and the numbers of lists as text, for they have up to 20 bytes."""
    used: dict[str, int] = {}
    settings = replace(settings, collateral=replace(settings.collateral, used=used))
    result = _verified(url, settings, at, presented, rules).as_json()
    return {"result": result, "lists": {one: str(number) for one, number in used.items()}}  # type: ignore[dict-item]


def reach(url: Url, settings: Settings, identity: TlsIdentity | SvidIdentity, post: Post | None = None) -> Presented:
    """Dial in a child of its own. Raises Refusal."""
    rules = settings.dialling
    if identity.client_certificate is not ClientCertificate.NONE and rules.client is None:
        raise Refusal("M-CLIENT-CERTIFICATE", "no certificate of ours is configured")
    shown = rules.client if identity.client_certificate is not ClientCertificate.NONE else None
    rules = replace(rules, client=shown, tls=identity.tls.value)
    left = rules.left
    if left <= 0:
        raise Refusal("N-UNREACHABLE", "no time is left")
    limits = replace(DIALLING, wall_seconds=left + (_LATE_SECONDS if rules.until is None else _LITTLE_LATE_SECONDS))
    try:
        answer = run_apart(lambda: _dialled(lambda: dial(url, rules, _spki, post)), limits)
    except Died as death:
        raise Refusal("N-UNREACHABLE" if death.code == "C-TIMEOUT" else death.code, str(death)) from death
    if "refused" in answer:
        raise Refusal(str(answer["refused"]), str(answer["why"]))
    return _presented(answer)


def _dialled(dialled: Callable[[], dict[str, Json]]) -> dict[str, Json]:
    try:
        return dialled()
    except NotDialled as refused:
        return {"refused": refused.code, "why": str(refused)}


def _presented(answer: Mapping[str, Json]) -> Presented:
    chain, staple, body = answer["chain"], answer["staple"], answer.get("answer")
    return Presented(
        chain=tuple(base64.b64decode(str(one)) for one in chain) if isinstance(chain, list) else (),
        staple=base64.b64decode(staple) if isinstance(staple, str) else None,
        asked_for_certificate=answer["asked_for_certificate"] is True,
        pop=True,
        answer=base64.b64decode(body) if isinstance(body, str) else None,
    )


def _spki(der: bytes) -> str:
    try:
        return parse(der).spki_digest
    except Refused:
        return ""


def _rules(url: Url, settings: Settings) -> list[Rule]:
    """Return the rule for the URL, or all those that an identity could turn out to be for.

    The latter want one and the same handshake, so that any of them says how to dial.
    """
    rule = settings.policy.rule_for(url)
    if rule is not None:
        return [rule]
    return settings.policy.rules_for_identities()


def _verified(url: Url, settings: Settings, at: datetime, presented: Presented, rules: Sequence[Rule]) -> StageResult:
    outcome, rule = _outcome(url, settings, at, presented, rules)
    findings = Findings()
    findings.add(outcome)
    findings.run("client-certificate", "handshake", _asked, presented, rule)
    claims = {**outcome.claims, "rule": rule.name}
    return StageResult(
        "identity", str(url), settings.policy.digest.hex(), at, presented.pop, findings.outcome(**claims)
    )


def _outcome(
    url: Url, settings: Settings, at: datetime, presented: Presented, rules: Sequence[Rule]
) -> tuple[Outcome, Rule]:
    collateral = replace(settings.collateral, staple=presented.staple)
    rule = _chosen(url, settings, presented, rules)
    identity = rule.identity
    if isinstance(identity, TlsIdentity):
        anchors = settings.anchors_of(identity)
        return verify_chain(presented.chain, anchors, identity.rules(url), at, collateral), rule
    svid = SvidRules(identity.allowed, identity.rules())
    return verify_x509_svid(presented.chain, settings.bundles, svid, at, collateral), rule


def _chosen(url: Url, settings: Settings, presented: Presented, rules: Sequence[Rule]) -> Rule:
    """Return the rule that the identity says it is for, which is then verified under that rule or refused.

    An identity that no rule is for is verified under the first: what is wrong with it is told beside that.
    """
    claimed = claimed_id(presented.chain[0]) if len(rules) > 1 and presented.chain else None
    found = settings.policy.rule_for(url, claimed)
    return found if found is not None else rules[0]


def _asked(findings: Findings, path: str, presented: Presented, rule: Rule) -> None:
    demanded = rule.identity.client_certificate is ClientCertificate.DEMAND
    if demanded and not presented.asked_for_certificate:
        findings.against("M-NO-CERTIFICATE-ASKED", path, "a request for our certificate", "none")


def _ended(
    url: Url, settings: Settings, at: datetime, code: str, path: str, expected: str, actual: str, *, pop: bool = False
) -> StageResult:
    findings = Findings()
    findings.against(code, path, expected, actual)
    outcome = findings.outcome()
    checks = (Check(path, path, Result.FAIL),)
    made = replace(outcome, checks=checks)
    return StageResult("identity", str(url), settings.policy.digest.hex(), at, pop, made)
