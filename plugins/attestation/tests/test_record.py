"""A registration record with evidence in it: no other one than the very record that was meant is admitted."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attest.appraisal import appraise
from attest.results import StageResult
from attest.strictjson import NotJson, read_object
from attest.urls import BadUrl, Url, read_url
from attest.verdict import Outcome, Verdict
from test_stages import BETWEEN, NOW, RECORD, TLS, answered, config, leaf
from world.challenge import Challenger
from world.identity import identify
from world.nonces import NonceStore
from world.settings import read_settings

CHAIN = (leaf(), BETWEEN.der)
SETTINGS = read_settings(config(443, TLS, RECORD, handshake=False), {})
URL = "https://127.0.0.1/mcp"


@cache
def found_at(url: Url) -> StageResult:
    """What the server that was meant shows, whatever it is called; the handshake is taken as done."""
    return replace(identify(url, SETTINGS, NOW, CHAIN), pop=True)


def registered(record: bytes, challenger: Challenger) -> Outcome | None:
    """What the stages make of a record: nothing, where it cannot even be read."""
    try:
        document: dict[str, Any] = read_object(record)
        url = read_url(str(document.get("url")))
    except (NotJson, BadUrl):
        return None
    who = found_at(url)
    rule, spki = SETTINGS.policy.rule_for(url), who.outcome.claims.get("spki")
    results = [who]
    if rule is not None and isinstance(spki, str):
        results += challenger.recorded(url, rule, spki, SETTINGS, lambda: NOW, document.get("evidence")).results
    return appraise(SETTINGS.policy, url, results, NOW).outcome


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that can be had: every use of a nonce waits for the disk."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


def test_no_single_flipped_bit_of_a_record_with_evidence_is_admitted(folder: Path) -> None:
    # Thousands of children would be what takes the time here.
    challenger = Challenger(NonceStore(folder / "nonces.db"), apart=lambda look, limits: look())
    url = read_url(URL)
    spki = str(found_at(url).outcome.claims["spki"])
    asked = challenger.recorded(url, SETTINGS.policy.rules[0], spki, SETTINGS, lambda: NOW, None).asked
    evidence = {"v": 1, "answers": [answered(one) for one in asked]}  # type: ignore[arg-type]
    record = json.dumps({"url": URL, "evidence": evidence}, separators=(",", ":")).encode()
    whole = registered(record, challenger)
    assert whole is not None and whole.verdict is Verdict.ADMIT, whole.reasons
    came = Counter[str]()
    for bit in range(len(record) * 8):
        forget_uses(folder)
        flipped = bytearray(record)
        flipped[bit // 8] ^= 1 << bit % 8
        outcome = registered(bytes(flipped), challenger)
        assert outcome is None or outcome.verdict is Verdict.DENY, (bit, bytes(flipped))
        came.update(outcome.codes if outcome is not None else ["unread"])
    assert "C-VERIFIER-FAULT" not in came
    assert came.keys() >= {"unread", "C-PARSE", "C-NONCE-UNKNOWN", "J-SIG", "C-EVIDENCE-ASKED", "A-NO-RULE"}, came


def forget_uses(folder: Path) -> None:
    """Have the nonce unused again, so that it is never what a flipped record is refused for."""
    with closing(sqlite3.connect(folder / "nonces.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM used")


def test_endorsements_that_nobody_would_look_at_are_refused(folder: Path) -> None:
    """Else the bytes of a record could be changed without a trace."""
    challenger, url = Challenger.at(folder), read_url(URL)
    spki = str(found_at(url).outcome.claims["spki"])
    (asked,) = challenger.recorded(url, SETTINGS.policy.rules[0], spki, SETTINGS, lambda: NOW, None).asked
    answer = {**answered(asked), "endorsements": ["AAAA"]}  # type: ignore[arg-type]
    record = json.dumps({"url": URL, "evidence": {"v": 1, "answers": [answer]}}).encode()
    outcome = registered(record, challenger)
    assert outcome is not None and outcome.codes == {"C-PARSE"}
