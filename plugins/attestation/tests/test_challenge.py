"""A nonce is good for one verification of one server, whatever happens around it, and evidence for one challenge."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from attest.binding import audience, binding, bound, context
from attest.codes import GROUPS
from attest.evidence import EvidenceRules, verify_evidence
from attest.messages import MAX_ANSWER_BYTES, Evidence, question, read_evidence
from attest.strictjson import NotJson, b64url, read_object
from attest.verdict import Findings, Outcome, Verdict
from contest import contest
from pki import AT, key, spki
from test_spiffe import BUNDLES, OWN, signed
from world.nonces import LIFETIME, NonceStore, StoreBusy, Subject

NONCE = bytes(range(32))
SUBJECT = Subject("https://server.example", "ab" * 32, "cd" * 32)
POLICY = hashlib.sha256(b"a policy").digest()
RULES = EvidenceRules(frozenset({"jwt-svid"}), BUNDLES, (f"spiffe://{OWN}/*",))
SECOND = timedelta(seconds=1)


@pytest.fixture
def store(tmp_path: Path) -> NonceStore:
    return NonceStore(tmp_path / "nonces.db")


def challenge(private: object = None) -> bytes:
    return binding(NONCE, context("https://server.example", POLICY), spki(key("server")))


def evidence(made_for: bytes, asked: bytes | None = None, kind: str = "jwt-svid") -> Outcome:
    answer = Evidence(kind, signed(aud=audience(made_for)))
    return verify_evidence(answer, asked or made_for, RULES, AT)


def test_a_nonce_is_good_once(store: NonceStore) -> None:
    store.issue(NONCE, SUBJECT, AT)
    assert store.consume(NONCE, SUBJECT, AT + LIFETIME - SECOND) is None
    assert store.consume(NONCE, SUBJECT, AT) == "C-NONCE-REUSED"


def test_a_nonce_that_was_never_issued_is_unknown(store: NonceStore) -> None:
    assert store.consume(NONCE, SUBJECT, AT) == "C-NONCE-UNKNOWN"


def test_a_nonce_lives_five_minutes(store: NonceStore) -> None:
    store.issue(NONCE, SUBJECT, AT)
    assert store.consume(NONCE, SUBJECT, AT + timedelta(minutes=5)) == "C-NONCE-EXPIRED"


@pytest.mark.parametrize("field", ["server", "spki", "policy"])
def test_a_nonce_is_for_one_server_key_and_policy_and_burnt_by_any_other(store: NonceStore, field: str) -> None:
    store.issue(NONCE, SUBJECT, AT)
    other = Subject(**{name: "other" if name == field else getattr(SUBJECT, name) for name in Subject.__slots__})
    assert store.consume(NONCE, other, AT) == "C-NONCE-OTHER-SERVER"
    assert store.consume(NONCE, SUBJECT, AT) == "C-NONCE-REUSED"


def test_a_nonce_is_issued_once(store: NonceStore) -> None:
    store.issue(NONCE, SUBJECT, AT)
    with pytest.raises(ValueError, match="once"):
        store.issue(NONCE, SUBJECT, AT)


def test_what_is_long_over_is_forgotten(store: NonceStore) -> None:
    store.issue(NONCE, SUBJECT, AT)
    store.issue(bytes(32), SUBJECT, AT + timedelta(hours=2))
    assert store.consume(NONCE, SUBJECT, AT + timedelta(hours=2)) == "C-NONCE-UNKNOWN"


def test_a_locked_store_is_an_error_and_never_an_acceptance(store: NonceStore, tmp_path: Path) -> None:
    store.issue(NONCE, SUBJECT, AT)
    holder = sqlite3.connect(tmp_path / "nonces.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy):
        store.consume(NONCE, SUBJECT, AT)
    holder.execute("ROLLBACK")
    holder.close()
    assert store.consume(NONCE, SUBJECT, AT) is None


def test_whoever_is_killed_after_consuming_has_burnt_the_nonce(store: NonceStore) -> None:
    store.issue(NONCE, SUBJECT, AT)
    child = os.fork()
    if child == 0:
        store.consume(NONCE, SUBJECT, AT)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert store.consume(NONCE, SUBJECT, AT) == "C-NONCE-REUSED"


def test_of_many_at_once_one_is_accepted_and_with_kills_never_two(tmp_path: Path) -> None:
    """Twelve rounds here; `python tests/contest.py 1000` plays a thousand."""
    tally = contest(tmp_path, rounds=12, seed=1)
    assert tally.undisturbed and set(tally.undisturbed) == {1}
    assert tally.disturbed and set(tally.disturbed) <= {0, 1}


def test_the_binding_is_what_the_document_says() -> None:
    own = spki(key("server"))
    asked = hashlib.sha256(b"https://server.example" + POLICY).digest()
    expected = hashlib.sha256(b"penstock-attestation-v1" + NONCE + asked + hashlib.sha256(own).digest()).digest()
    assert challenge() == expected


def test_a_binding_changes_with_everything_that_it_binds() -> None:
    asked = context("https://server.example", POLICY)
    made = {
        challenge(),
        binding(bytes(32), asked, spki(key("server"))),
        binding(NONCE, context("https://other.example", POLICY), spki(key("server"))),
        binding(NONCE, context("https://server.example", bytes(32)), spki(key("server"))),
        binding(NONCE, asked, spki(key("relay"))),
    }
    assert len(made) == 5


@pytest.mark.parametrize("make", [lambda: binding(b"short", bytes(32), b""), lambda: context("x", b"short")])
def test_parts_of_another_length_are_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError, match="bytes"):
        make()


def test_evidence_for_this_challenge_is_admitted() -> None:
    assert evidence(challenge()).verdict is Verdict.ADMIT


def test_evidence_of_a_relay_is_bound_to_the_relays_key() -> None:
    relayed = binding(NONCE, context("https://server.example", POLICY), spki(key("relay")))
    assert evidence(relayed, challenge()).codes == {"C-BINDING"}


def test_evidence_of_another_kind_than_was_asked_for_is_refused() -> None:
    assert evidence(challenge(), kind="tpm").codes == {"C-KIND-NOT-ALLOWED"}


def test_a_binding_is_compared_whole() -> None:
    findings = Findings()
    bound(findings, "evidence", challenge(), challenge()[:-1])
    assert findings.outcome().codes == {"C-BINDING"}


def test_the_question_says_what_is_asked() -> None:
    document = read_object(question(NONCE, bytes(32), ["jwt-svid"]))
    assert document["v"] == 1 and document["kinds"] == ["jwt-svid"]
    assert b64url(str(document["nonce"])) == NONCE and b64url(str(document["context"])) == bytes(32)


def test_an_answer_is_read_as_it_was_written() -> None:
    data = b'{"kind": "jwt-svid", "evidence": "YWJj", "endorsements": ["ZGVm"]}'
    assert read_evidence(data) == Evidence("jwt-svid", b"abc", (b"def",))


@pytest.mark.parametrize(
    "data",
    [
        b"{}", b'{"kind": 1, "evidence": ""}',
        b'{"kind": "k", "evidence": "YWJ"}', b'{"kind": "k", "evidence": "YW=="}',
        b'{"kind": "k", "evidence": "", "more": 1}', b'{"kind": "k", "evidence": "", "endorsements": [1]}',
        b'{"kind": "k", "evidence": "", "endorsements": {}}', b'{"kind": "k", "kind": "k", "evidence": ""}',
        b'{"kind": "k", "evidence": "' + b"A" * MAX_ANSWER_BYTES + b'"}',
    ],
)  # fmt: skip
def test_an_answer_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(NotJson):
        read_evidence(data)


def test_the_codes_of_freshness_are_those_tested_here_and_with_the_policy() -> None:
    here = {"C-NONCE-UNKNOWN", "C-NONCE-EXPIRED", "C-NONCE-REUSED", "C-NONCE-OTHER-SERVER", "C-BINDING"}
    elsewhere = {"C-KIND-NOT-ALLOWED", "C-KIND-MISSING", "C-STORE-BUSY", "C-EVIDENCE-ASKED"}
    assert set(GROUPS["Freshness"]) == here | elsewhere
