"""Asks a server for evidence: a fresh nonce, one question on a connection to the key that was seen, one verdict."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from attest.binding import NONCE_BYTES, binding, context
from attest.certificates import parse
from attest.evidence import EvidenceRules, verify_evidence
from attest.messages import EVIDENCE_PATH, MAX_ANSWER_BYTES, question, read_evidence
from attest.policy import EvidenceAsked, Rule
from attest.results import StageResult, read_result
from attest.strictjson import NotJson
from attest.urls import Url
from attest.verdict import Findings

from world.connector import Post
from world.identity import Presented, Refusal, reach
from world.nonces import NonceStore, StoreBusy, Subject
from world.sandbox import VERIFYING, Died, run_apart
from world.settings import Settings

__all__ = ["Challenger"]


@dataclass(frozen=True, slots=True)
class Challenger:
    """Issues nonces into a store and burns them before it verifies what came back."""

    store: NonceStore
    random: Callable[[int], bytes] = os.urandom

    @classmethod
    def at(cls, folder: Path) -> Challenger:
        """Keep the nonces in the plugin's own directory."""
        return cls(NonceStore(folder / "nonces.db"))

    def challenge(
        self, url: Url, rule: Rule, spki: str, settings: Settings, clock: Callable[[], datetime]
    ) -> StageResult:
        """Pull evidence on a connection to the key `spki` (its digest) and verify it."""
        asked = rule.evidence
        if asked is None:
            raise ValueError(f"rule {rule.name} asks for no evidence")
        nonce, subject = self.random(NONCE_BYTES), Subject(str(url), spki, settings.policy.digest.hex())
        about = context(str(url), settings.policy.digest)
        try:
            self.store.issue(nonce, subject, clock())
            body = question(nonce, about, asked.require)
            presented = reach(url, settings, rule.identity, Post(EVIDENCE_PATH, body, spki, MAX_ANSWER_BYTES))
            # Burnt first: whatever the verification does, and whether it ends or not, the nonce is gone.
            refused = self.store.consume(nonce, subject, clock())
        except StoreBusy:
            return _ended(url, settings, clock(), "C-STORE-BUSY", "nonce")
        except Refusal as refusal:
            return _ended(url, settings, clock(), refusal.code, "connection")
        at = clock()
        if refused is not None:
            return _ended(url, settings, at, refused, "nonce")
        try:
            answer = run_apart(
                lambda: _verified(url, asked, settings, at, presented, nonce, about).as_json(),  # type: ignore[arg-type, return-value]
                VERIFYING,
            )
        except Died as death:
            return _ended(url, settings, at, death.code, "verifier")
        found = read_result(answer)
        claims = {**found.outcome.claims, "nonce": hashlib.sha256(nonce).hexdigest()}
        return replace(found, pop=True, outcome=replace(found.outcome, claims=claims))


def _verified(
    url: Url, asked: EvidenceAsked, settings: Settings, at: datetime, presented: Presented, nonce: bytes, about: bytes
) -> StageResult:
    bound_to = binding(nonce, about, parse(presented.chain[0]).spki)
    findings = Findings()
    kind = "evidence"
    try:
        evidence = read_evidence(presented.answer or b"")
        # Only a name that the operator wrote goes on: another could pass for the result of another stage.
        kind = evidence.kind if evidence.kind in asked.require else kind
        rules = EvidenceRules(frozenset(asked.require), settings.bundles, asked.allowed)
        outcome = verify_evidence(evidence, bound_to, rules, at)
    except NotJson as error:
        findings.against("C-PARSE", "evidence", "an answer with evidence", error)
        outcome = findings.outcome()
    return StageResult(kind, str(url), settings.policy.digest.hex(), at, True, outcome)


def _ended(url: Url, settings: Settings, at: datetime, code: str, path: str) -> StageResult:
    findings = Findings()
    findings.against(code, path, "evidence", "none")
    return StageResult("evidence", str(url), settings.policy.digest.hex(), at, True, findings.outcome())
