"""The commands say what the stages would, and nothing is stored that could not be used."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from commands import main
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pki import AT, DAY, root
from servers import pem
from test_audit import HOST, decision
from test_chain import BETWEEN, ROOT
from test_spiffe import OWN, TOKEN_KEY, WORKLOAD, document
from test_spiffe import ROOT as SPIFFE_ROOT
from test_spiffe import signed as signed_token
from world.admissions import Admissions
from world.auditlog import AuditLog
from world.trust import Kind, TrustStore

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


def run(*arguments: object, data: Path | None = None) -> int:
    return main([str(one) for one in (*(("--data", data) if data else ()), *arguments)])


def verify(folder: Path, file: str, kind: str, rule: str, *more: object) -> int:
    return run("verify", folder / file, "--kind", kind, "--policy", folder / "policy.yaml", "--rule", rule, *more)


def statement(value: object, *, stage: str = "penstock-attestation/appraise", out: str = "checkpoint") -> str:
    """What the host signs, as it does it."""
    header = {"alg": "EdDSA", "kid": "k", "typ": "JWT", "penstock": {"run": "r", "stage": stage, "out": out}}
    said = ".".join(text(json.dumps(part).encode()) for part in (header, value))
    return f"{said}.{text(HOST.sign(said.encode()))}"


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


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
    result = statement({"eat_profile": "x"}, out="result")
    (folder / "statements").write_text(f"{result}\n{statement(log.checkpoint().as_json())}\n")
    key = HOST.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pem").write_bytes(key)
    arguments = ("audit", "verify", folder / "audit.jsonl", "--statements", folder / "statements", "--key")
    assert run(*arguments, folder / "key.pem") == 0
    assert "proven up to line 4" in capsys.readouterr().out
    lines = (folder / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "audit.jsonl").write_bytes(b"".join(lines[:-1]))
    assert run(*arguments, folder / "key.pem") == 1
    assert "ends here" in capsys.readouterr().out
    (folder / "audit.jsonl").unlink()
    assert run(*arguments, folder / "key.pem") == 1
    assert "says that it had 4 lines" in capsys.readouterr().out
    assert run("audit", "verify", folder / "audit.jsonl") == 2


@pytest.mark.parametrize("about", [{"out": "result"}, {"stage": "other/appraise"}])
def test_a_statement_about_something_else_is_no_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str], about: dict[str, str]
) -> None:
    """Else a plugin that puts out what it likes could have a checkpoint signed."""
    log = AuditLog(folder / "audit.jsonl")
    log.append(decision(1))
    (folder / "statements").write_text(statement(log.checkpoint().as_json(), **about) + "\n")
    (folder / "key.pem").write_bytes(HOST.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    arguments = ("audit", "verify", "--statements", folder / "statements", "--key", folder / "key.pem")
    assert run(*arguments, data=folder) == 0
    assert "1 lines, 0 checkpoints, proven up to line 0" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["", "a.b.c", "{}", "e30.e30.e30"])
def test_a_line_that_is_no_statement_is_told(folder: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    AuditLog(folder / "audit.jsonl").append(decision(1))
    (folder / "statements").write_text(line + "\n")
    assert run("audit", "verify", folder / "audit.jsonl", "--statements", folder / "statements") == 1
    assert "statement 1: not a statement of the host" in capsys.readouterr().out


def test_the_metrics_are_recomputed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = AuditLog(folder / "audit.jsonl")
    log.append(decision(1))
    log.append(decision(2, "deny", "X-EXPIRED"))
    assert run("audit", "report", folder / "audit.jsonl") == 0
    assert printed(capsys) == {
        "decisions": 2, "servers": 2, "share_admitted": 0.5, "mean_verification_ms": 3.0, "failures": {"X-EXPIRED": 1},
        "slowest_checks_ms": {"identity.signature": 1.0, "appraise.rule": 0.5, "identity.validity": 0.25},
    }  # fmt: skip
    assert run("audit", "report", "--format", "prometheus", data=folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "penstock_attestation_servers_admitted_ratio 0.5" in lines
    assert "penstock_attestation_verification_mean_seconds 0.003" in lines
    assert 'penstock_attestation_failures{code="X-EXPIRED"} 1' in lines


def test_half_a_line_that_a_crash_left_is_left_out_of_the_report_and_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it was cut, and be it before its last byte."""
    log, file = AuditLog(folder / "audit.jsonl"), folder / "audit.jsonl"
    log.append(decision(1))
    whole = file.read_bytes()
    log.append(decision(2, "deny", "X-EXPIRED"))
    (folder / "whole.jsonl").write_bytes(whole)
    assert run("audit", "report", folder / "whole.jsonl") == 0
    expected = printed(capsys)
    both = file.read_bytes()
    for end in (len(whole) + 1, len(whole) + 40, len(both) - 1):
        file.write_bytes(both[:end])
        assert run("audit", "report", file) == 0
        said = capsys.readouterr()
        assert json.loads(said.out) == expected
        named = "line 2: half a line, as a crash leaves it\n"
        assert said.err == f"left out: {named}"
        assert run("audit", "verify", file) == 1
        assert named in capsys.readouterr().out, "the same of both"


def test_a_line_that_was_changed_is_not_left_out_and_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, file = AuditLog(folder / "audit.jsonl"), folder / "audit.jsonl"
    for number in range(3):
        log.append(decision(number))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join((lines[0], b"{}\n", lines[2])))
    assert run("audit", "report", file) == 2
    assert capsys.readouterr().err == "error: line 2: not a line of this log\n"


def test_what_is_not_said_comes_from_the_policy_and_the_trust_store(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--policy", folder / "policy.yaml", "--at", AT.isoformat())
    chain = ("verify", folder / "chain.pem", "--kind", "tls", "--url", "https://server.example/", *common)
    token = ("verify", folder / "token", "--kind", "jwt-svid", "--audience", "gateway", *common)
    assert run(*chain, data=folder) == run(*token, data=folder) == 2
    assert "say --anchors" in capsys.readouterr().err
    assert run("anchors", "add", "own", folder / "root.pem", "--new", data=folder) == 0
    TrustStore(folder / "trust.db").put(Kind.BUNDLE, OWN, (folder / "bundle.json").read_bytes())
    assert run(*chain, data=folder) == run(*token, data=folder) == 0


def test_anchors_are_added_rotated_and_removed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"data": folder}
    (folder / "other.pem").write_text(pem(root("another").der))
    assert run("anchors", "add", "own", folder / "root.pem", "--new", **data) == 0
    assert run("anchors", "add", "own", folder / "other.pem", **data) == 0
    assert run("anchors", "list", **data) == 0
    assert capsys.readouterr().out.count("CN=") == 2
    assert run("anchors", "rotate", "own", folder / "other.pem", "--sequence", 2, **data) == 1
    assert run("anchors", "rotate", "own", folder / "other.pem", "--sequence", 9, **data) == 0
    assert run("anchors", "remove", "own", **data) == 0
    assert run("anchors", "list", **data) == 0
    assert capsys.readouterr().out.endswith("own sequence 10: removed\n")


def test_what_is_added_is_there_however_the_files_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "root.pem").write_text(pem(ROOT.der).rstrip("\n"))
    (folder / "other.pem").write_text(pem(root("another").der).rstrip("\n"))
    assert run("anchors", "add", "own", folder / "root.pem", "--new", data=folder) == 0
    assert run("anchors", "add", "own", folder / "other.pem", data=folder) == 0
    assert run("anchors", "add", "own", folder / "policy.yaml", data=folder) == 2, "it is nothing of the kind by itself"
    assert run("anchors", "list", data=folder) == 0
    out = capsys.readouterr().out
    assert out.count("CN=") == 2 and "own sequence 2" in out


@pytest.mark.parametrize("sequence", [2**53 + 1, 2**80])
def test_no_sequence_takes_the_store_to_where_nothing_follows(folder: Path, sequence: int) -> None:
    rotate = ("anchors", "rotate", "own", folder / "root.pem")
    assert run(*rotate, "--sequence", sequence, data=folder) == 2
    assert run(*rotate, "--sequence", 2**53, data=folder) == 0
    assert run(*rotate, data=folder) == 0


def test_a_store_that_cannot_be_read_is_told_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("anchors", "list", data=folder / "nowhere") == 2
    (folder / "trust.db").write_bytes(b"no database at all, and longer than the head of one would be" * 9)
    assert run("anchors", "list", data=folder) == 2
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == ["error", "error"]


def test_what_is_removed_though_the_store_has_no_such_thing_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("anchors", "remove", "copr", data=folder) == 0
    assert "not in the store" in capsys.readouterr().err


def test_lists_bundles_and_the_policy_are_changed_in_the_same_way(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"data": folder}
    made = x509.load_der_x509_crl(BETWEEN.crl(4)).public_bytes(Encoding.PEM)
    (folder / "list.pem").write_bytes(made)
    changes: tuple[tuple[object, ...], ...] = (
        ("add", "corp", folder / "list.pem", "--kind", "crl"),
        ("rotate", OWN, folder / "bundle.json", "--kind", "bundle"),
        ("rotate", "policy", folder / "policy.yaml", "--kind", "policy"),
        ("remove", "corp", "--kind", "crl"),
    )
    assert [run("anchors", *words, **data) for words in changes] == [0] * 4
    store = TrustStore(folder / "trust.db")
    held = {item.kind: (item.name, item.data) for item in store.snapshot().items}
    assert held == {
        Kind.CRL: ("corp", None),
        Kind.BUNDLE: (OWN, (folder / "bundle.json").read_bytes()),
        Kind.POLICY: ("policy", POLICY.encode()),
    }
    capsys.readouterr()
    assert run("anchors", "list", **data) == 0
    assert f"bundle {OWN} sequence 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ("add", OWN, "bundle.json", "--kind", "bundle"), ("rotate", "other", "policy.yaml", "--kind", "policy"),
        ("rotate", "policy", "bundle.json", "--kind", "policy"), ("rotate", "corp", "root.pem", "--kind", "crl"),
        ("rotate", OWN, "policy.yaml", "--kind", "bundle"), ("remove", "policy", "--kind", "policy"),
        ("rotate", "No Rule's", "root.pem"), ("rotate", "spiffe://x", "bundle.json", "--kind", "bundle"),
    ],
)  # fmt: skip
def test_what_is_of_another_kind_is_not_stored(folder: Path, words: tuple[str, ...]) -> None:
    given = [folder / word if word.endswith((".json", ".yaml", ".pem")) else word for word in words]
    assert run("anchors", *given, data=folder) == 2
    assert TrustStore(folder / "trust.db").change() == 0


def test_a_change_is_approved_as_it_was_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Admissions(folder / "admitted.db")
    store.ask("https://s.example/", "t", "ab" * 32, ["D-APPROVAL", "D-KEY-CHANGED"])
    assert run("approvals", "list", data=folder) == 0
    line = capsys.readouterr().out
    assert line == f"https://s.example/ tenant t {'ab' * 32} asked for: D-APPROVAL D-KEY-CHANGED\n"
    give = ("approvals", "give", "https://s.example/")
    assert run(*give, "cd" * 32, "--tenant", "t", data=folder) == run(*give, "ab" * 32, data=folder) == 1
    assert run(*give, "ab" * 32, "--tenant", "t", data=folder) == 0
    assert store.approved("https://s.example/", "t") == ("ab" * 32,)
    assert run("approvals", "withdraw", "https://s.example/", "--tenant", "t", data=folder) == 0
    assert store.approved("https://s.example/", "t") == ()


def test_what_cannot_be_read_is_not_stored(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("anchors", "add", "own", folder / "policy.yaml", "--new", data=folder) == 2
    assert run("anchors", "list", data=folder) == 0
    assert capsys.readouterr().out == ""


def test_anchors_that_may_be_configured_are_not_replaced_by_adding_to_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add = ("anchors", "add", "own", folder / "root.pem")
    assert run(*add, data=folder) == 2
    said = capsys.readouterr().err
    assert "`anchors rotate own FILE`" in said and "--new" in said
    assert TrustStore(folder / "trust.db").change() == 0
    assert run(*add, "--new", data=folder) == 0
    assert run(*add, data=folder) == 0, "what the store has is added to"


def test_a_set_that_was_removed_may_be_added_to_again(folder: Path) -> None:
    """What is configured under its name has counted no more since it was removed."""
    assert run("anchors", "remove", "own", data=folder) == 0
    assert run("anchors", "add", "own", folder / "root.pem", data=folder) == 0


def test_an_anchor_that_ends_soon_is_warned_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(draft: Any) -> None:
        draft.begin, draft.end = AT - 900 * DAY, AT - DAY

    (folder / "old.pem").write_text(pem(root("old", change).der))
    run("anchors", "add", "own", folder / "old.pem", "--new", data=folder)
    run("anchors", "list", data=folder)
    assert "ENDS SOON" in capsys.readouterr().out
