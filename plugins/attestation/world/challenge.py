"""Asks a server for evidence: a fresh nonce for each kind, answered on a connection to the key that was seen, or in
the next record of the same server.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from attest.binding import NONCE_BYTES, binding_of, context
from attest.evidence import EvidenceRules, verify_evidence
from attest.messages import EVIDENCE_PATH, MAX_ANSWER_BYTES, Evidence, question, read_evidence, read_handed
from attest.policy import EvidenceAsked, Rule
from attest.results import Results, StageResult, read_result
from attest.shown import digest_of_answer, digest_of_handed
from attest.strictjson import Json, NotJson
from attest.urls import Url
from attest.verdict import Findings

from world.connector import Post
from world.identity import Refusal, reach
from world.nonces import NonceStore, StoreBusy, Subject
from world.sandbox import VERIFYING, Died, Limits, run_apart
from world.settings import Settings

__all__ = ["Challenger"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who is asked, what the operator asks for, and what the answer is bound to. `spki` is the digest of the key."""

    url: Url
    rule: Rule
    evidence: EvidenceAsked
    spki: str
    settings: Settings

    @property
    def subject(self) -> Subject:
        return Subject(str(self.url), self.spki, self.settings.policy.digest.hex())

    @property
    def context(self) -> bytes:
        return context(str(self.url), self.settings.policy.digest)

    def ended(self, code: str, path: str, at: datetime, nonce: bytes | None = None) -> StageResult:
        """Say that there is no evidence, and why; `nonce` is the one that it was to answer."""
        findings = Findings()
        findings.against(code, path, "evidence", "none")
        policy = self.settings.policy.digest.hex()
        found = StageResult("evidence", str(self.url), policy, at, True, findings.outcome())
        return found if nonce is None else _with_nonce(found, nonce)


@dataclass(frozen=True, slots=True)
class Challenger:
    """Issues nonces into a store and burns them before it verifies what came back."""

    store: NonceStore
    random: Callable[[int], bytes] = os.urandom
    apart: Callable[[Callable[[], dict[str, Json]], Limits], dict[str, Json]] = run_apart
    """How one verification is run: in a child of its own."""

    @classmethod
    def at(cls, folder: Path) -> Challenger:
        """Keep the nonces in the plugin's own directory."""
        return cls(NonceStore(folder / "nonces.db"))

    def challenge(self, url: Url, rule: Rule, spki: str, settings: Settings, clock: Callable[[], datetime]) -> Results:
        """Pull evidence of each kind on a connection to the key `spki` (its digest) and verify it."""
        asked = _asked(url, rule, spki, settings)
        found: list[StageResult] = []
        for kind in asked.evidence.require:
            try:
                found.append(self._pulled(asked, kind, clock))
            except StoreBusy:
                found.append(asked.ended("C-STORE-BUSY", "nonce", clock()))
            except Refusal as refusal:
                found.append(asked.ended(refusal.code, "connection", clock()))
                break  # whoever cannot be asked once is not asked again
        return Results(tuple(found))

    def _pulled(self, asked: _Asked, kind: str, clock: Callable[[], datetime]) -> StageResult:
        nonce = self._issued(asked, clock())
        post = Post(EVIDENCE_PATH, question(nonce, asked.context, (kind,)), asked.spki, MAX_ANSWER_BYTES)
        answer = reach(asked.url, asked.settings, asked.rule.identity, post).answer or b""
        try:
            found = self._judged(asked, kind, nonce, lambda: read_evidence(answer), clock)
        except StoreBusy:
            found = asked.ended("C-STORE-BUSY", "nonce", clock(), nonce)
        return replace(found, judged=digest_of_answer(answer))

    def recorded(
        self, url: Url, rule: Rule, spki: str, settings: Settings, clock: Callable[[], datetime], record: object
    ) -> Results:
        """Verify the evidence of a record against nonces that were issued for it before, or issue them."""
        found = self._recorded(_asked(url, rule, spki, settings), clock, record)
        judged = digest_of_handed(record)
        return replace(found, results=tuple(replace(one, judged=judged) for one in found.results))

    def _recorded(self, asked: _Asked, clock: Callable[[], datetime], record: object) -> Results:
        try:
            if not record:
                return self._question(asked, clock())
            handed = read_handed(record)
            by_kind = {one.evidence.kind: one for one in handed}
            if len(by_kind) != len(handed):
                return Results((asked.ended("C-PARSE", "payload.evidence", clock()),))
            found = [
                self._judged(asked, kind, by_kind[kind].nonce, lambda one=by_kind[kind].evidence: one, clock)  # type: ignore[misc]
                for kind in asked.evidence.require
                if kind in by_kind
            ]
            missing = [kind for kind in asked.evidence.require if kind not in by_kind]
            found += [asked.ended("C-KIND-MISSING", kind, clock()) for kind in missing]
            strange = sorted(by_kind.keys() - set(asked.evidence.require))
            found += [asked.ended("C-KIND-NOT-ALLOWED", "payload.evidence", clock())] if strange else []
            return Results(tuple(found))
        except NotJson:
            return Results((asked.ended("C-PARSE", "payload.evidence", clock()),))
        except StoreBusy:
            return Results((asked.ended("C-STORE-BUSY", "nonce", clock()),))

    def _question(self, asked: _Asked, now: datetime) -> Results:
        questions = [
            json.loads(question(self._issued(asked, now), asked.context, (kind,))) for kind in asked.evidence.require
        ]
        return Results((asked.ended("C-EVIDENCE-ASKED", "payload.evidence", now),), tuple(questions))

    def _issued(self, asked: _Asked, now: datetime) -> bytes:
        nonce = self.random(NONCE_BYTES)
        self.store.issue(nonce, asked.subject, now)
        return nonce

    def _judged(
        self, asked: _Asked, kind: str, nonce: bytes, read: Callable[[], Evidence], clock: Callable[[], datetime]
    ) -> StageResult:
        # Burnt first: whatever the verification does, and whether it ends or not, the nonce is gone.
        at = clock()
        refused = self.store.consume(nonce, asked.subject, at)
        if refused is not None:
            return asked.ended(refused, "nonce", at, nonce)
        try:
            answer = self.apart(lambda: _verified(asked, kind, nonce, read, at).as_json(), VERIFYING)  # type: ignore[arg-type, return-value]
        except Died as death:
            return asked.ended(death.code, "verifier", at, nonce)
        return _with_nonce(replace(read_result(answer), pop=True), nonce)


def _with_nonce(found: StageResult, nonce: bytes) -> StageResult:
    """The record names a nonce, whatever became of it, by its digest."""
    claims = {**found.outcome.claims, "nonce": hashlib.sha256(nonce).hexdigest()}
    return replace(found, outcome=replace(found.outcome, claims=claims))


def _asked(url: Url, rule: Rule, spki: str, settings: Settings) -> _Asked:
    if rule.evidence is None:
        raise ValueError(f"rule {rule.name} asks for no evidence")
    return _Asked(url, rule, rule.evidence, spki, settings)


def _verified(asked: _Asked, kind: str, nonce: bytes, read: Callable[[], Evidence], at: datetime) -> StageResult:
    bound_to = binding_of(nonce, asked.context, bytes.fromhex(asked.spki))
    findings = Findings()
    shown = "evidence"
    try:
        evidence = read()
        # Only a name that the operator wrote goes on: another could pass for the result of another stage.
        shown = kind if evidence.kind == kind else shown
        rules = EvidenceRules(frozenset({kind}), asked.settings.bundles, asked.evidence.allowed)
        outcome = verify_evidence(evidence, bound_to, rules, at)
    except NotJson as error:
        findings.against("C-PARSE", "evidence", "an answer with evidence", error)
        outcome = findings.outcome()
    policy = asked.settings.policy.digest.hex()
    return StageResult(shown, str(asked.url), policy, at, True, outcome)
