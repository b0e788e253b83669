"""The commands say what the stages would, and nothing is stored that could not be used."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from commands import main
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pki import AT, DAY, root
from servers import pem
from test_audit import HOST, decision, signed
from test_chain import BETWEEN, ROOT
from test_spiffe import OWN, TOKEN_KEY, WORKLOAD, document
from test_spiffe import ROOT as SPIFFE_ROOT
from test_spiffe import signed as signed_token
from world.auditlog import AuditLog

POLICY = f"""
version: 1
servers:
  - {{name: tls, match: "https://server.example/*", identity: {{kind: tls, anchors: [own], revocation: off}}}}
  - name: workloads
    match: spiffe://{OWN}/*
    identity: {{kind: x509-svid, allowed: ["spiffe://{OWN}/billing/*"], revocation: off}}
    evidence: {{require: [jwt-svid], allowed: ["spiffe://{OWN}/billing/*"]}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "chain.pem").write_text(pem(BETWEEN.leaf()) + pem(BETWEEN.der))
    (tmp_path / "root.pem").write_text(pem(ROOT.der))
    (tmp_path / "svid.pem").write_text(pem(SPIFFE_ROOT.leaf(lambda draft: None, WORKLOAD)))
    (tmp_path / "bundle.json").write_bytes(document(SPIFFE_ROOT, keys=(TOKEN_KEY,)))
    (tmp_path / "token").write_bytes(signed_token() + b"\n")
    return tmp_path


def run(*arguments: object) -> int:
    return main([str(one) for one in arguments])


def verify(folder: Path, file: str, kind: str, rule: str, *more: object) -> int:
    return run("verify", folder / file, "--kind", kind, "--policy", folder / "policy.yaml", "--rule", rule, *more)


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_chain_is_verified_at_the_time_that_is_given(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--url", "https://server.example/", "--anchors", folder / "root.pem", "--at")
    assert verify(folder, "chain.pem", "tls", "tls", *more, AT.isoformat()) == 0
    assert printed(capsys)["verdict"] == "admit"
    assert verify(folder, "chain.pem", "tls", "tls", *more, (AT + 60 * DAY).isoformat()) == 1
    assert [reason["code"] for reason in printed(capsys)["reasons"]] == ["X-EXPIRED"]


def test_identities_and_tokens_are_verified_against_their_bundle(folder: Path) -> None:
    more = ("--bundle", folder / "bundle.json", "--trust-domain", OWN, "--at", AT.isoformat())
    assert verify(folder, "svid.pem", "x509-svid", "workloads", *more) == 0
    assert verify(folder, "token", "jwt-svid", "workloads", *more, "--audience", "gateway") == 0
    assert verify(folder, "token", "jwt-svid", "workloads", *more, "--audience", "else") == 1


@pytest.mark.parametrize(
    ("rule", "more"),
    [("nobody", ()), ("tls", ()), ("workloads", ("--url", "https://x.example/")), ("tls", ("--at", "2026-01-01"))],
)
def test_what_is_asked_wrongly_is_said(folder: Path, rule: str, more: tuple[str, ...]) -> None:
    assert verify(folder, "chain.pem", "tls", rule, *more) == 2


def test_a_log_is_verified_against_signed_checkpoints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = AuditLog(folder / "audit.jsonl")
    for number in range(4):
        log.append(decision(number))
    one = signed(log.checkpoint())
    text = json.dumps({"n": one.n, "digest": one.digest, "signature": base64.b64encode(one.signature).decode()})
    (folder / "checkpoints").write_text(text + "\n")
    key = HOST.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pem").write_bytes(key)
    arguments = ("audit", "verify", folder / "audit.jsonl", "--checkpoints", folder / "checkpoints", "--key")
    assert run(*arguments, folder / "key.pem") == 0
    assert "proven up to line 4" in capsys.readouterr().out
    lines = (folder / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "audit.jsonl").write_bytes(b"".join(lines[:-1]))
    assert run(*arguments, folder / "key.pem") == 1
    assert "ends here" in capsys.readouterr().out


def test_the_metrics_are_recomputed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = AuditLog(folder / "audit.jsonl")
    log.append(decision(1))
    log.append(decision(2, "deny", "X-EXPIRED"))
    assert run("audit", "report", folder / "audit.jsonl") == 0
    assert printed(capsys) == {
        "decisions": 2, "servers": 2, "share_admitted": 0.5, "mean_verification_ms": 3.0, "failures": {"X-EXPIRED": 1},
    }  # fmt: skip


def test_anchors_are_added_rotated_and_removed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--data", folder)
    (folder / "other.pem").write_text(pem(root("another").der))
    assert run("anchors", "add", "own", folder / "root.pem", *data) == 0
    assert run("anchors", "add", "own", folder / "other.pem", *data) == 0
    assert run("anchors", "list", *data) == 0
    assert capsys.readouterr().out.count("CN=") == 2
    assert run("anchors", "rotate", "own", folder / "other.pem", *data, "--sequence", 2) == 1
    assert run("anchors", "rotate", "own", folder / "other.pem", *data, "--sequence", 9) == 0
    assert run("anchors", "remove", "own", *data) == 0
    assert run("anchors", "list", *data) == 0
    assert capsys.readouterr().out.endswith("own sequence 10: removed\n")


def test_what_cannot_be_read_is_not_stored(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("anchors", "add", "own", folder / "policy.yaml", "--data", folder) == 2
    assert run("anchors", "list", "--data", folder) == 0
    assert capsys.readouterr().out == ""


def test_an_anchor_that_ends_soon_is_warned_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(draft: Any) -> None:
        draft.begin, draft.end = AT - 900 * DAY, AT - DAY

    (folder / "old.pem").write_text(pem(root("old", change).der))
    run("anchors", "add", "own", folder / "old.pem", "--data", folder)
    run("anchors", "list", "--data", folder)
    assert "ENDS SOON" in capsys.readouterr().out
