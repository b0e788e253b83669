"""The log shows every edit, deletion, reordering and truncation before its last checkpoint; drift is told by name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from attest.audit import Checkpoint, digest_of, line_of, metrics, read_line, verify_log
from attest.codes import GROUPS
from attest.drift import Known, judge_drift
from attest.policy import Drift
from attest.strictjson import Json, NotJson
from attest.verdict import Findings, Outcome, Result
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from world.auditlog import AuditLog, CannotRecord

HOST = Ed25519PrivateKey.generate()


def decision(number: int = 0, verdict: str = "admit", *codes: str, ms: float = 2.0) -> dict[str, Json]:
    return {
        "id": f"d{number}", "at": 1767225600.5 + number, "server": f"https://s{number}.example/", "tenant": "",
        "verdict": verdict, "codes": list(codes), "rule": "corp", "judged": {"identity": "ab" * 32},
        "results": {"identity": "ba" * 32}, "nonce": "",
        "anchors": "cd" * 32, "policy": "ef" * 32, "ms": {"identity": ms, "appraise": 1.0},
        "checks": {"identity": {"signature": ms / 2, "validity": 0.25}, "appraise": {"rule": 0.5}},
    }  # fmt: skip


def signed(checkpoint: Checkpoint, key: Ed25519PrivateKey = HOST) -> Checkpoint:
    said = json.dumps(checkpoint.as_json()).encode()
    return replace(checkpoint, said=said, signature=key.sign(said))


def is_signed(checkpoint: Checkpoint) -> bool:
    try:
        HOST.public_key().verify(checkpoint.signature, checkpoint.said)
    except InvalidSignature:
        return False
    return True


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit.jsonl")


@pytest.fixture
def written(log: AuditLog) -> tuple[list[bytes], list[Checkpoint]]:
    """Ten lines, with a checkpoint after the sixth."""
    checkpoints = []
    for number in range(10):
        log.append(decision(number))
        if number == 5:
            checkpoints.append(signed(log.checkpoint()))
    return list(log.lines()), checkpoints


def edited(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].replace(b"admit", b"admix"), *lines[3:]]


def rewritten(lines: list[bytes]) -> list[bytes]:
    """Everything from the third line on written anew, so that the chain holds."""
    made = lines[:2]
    for number in range(2, 10):
        made.append(line_of(number + 1, digest_of(made[-1]), decision(number, "deny")))
    return made


CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "edited": edited,
    "deleted": lambda lines: [*lines[:3], *lines[4:]],
    "first deleted": lambda lines: lines[1:],
    "reordered": lambda lines: [lines[1], lines[0], *lines[2:]],
    "repeated": lambda lines: [*lines[:3], lines[2], *lines[3:]],
    "truncated before the checkpoint": lambda lines: lines[:5],
    "emptied": lambda lines: [],
    "written anew": rewritten,
}


def test_an_untouched_log_is_proven_as_far_as_its_last_checkpoint(
    written: tuple[list[bytes], list[Checkpoint]],
) -> None:
    lines, checkpoints = written
    found = verify_log(lines, checkpoints, is_signed)
    assert (found.lines, found.proven, found.problems) == (10, 6, ())


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_before_the_checkpoint_is_found(change: str, written: tuple[list[bytes], list[Checkpoint]]) -> None:
    lines, checkpoints = written
    assert verify_log(CHANGES[change](lines), checkpoints, is_signed).problems


def test_no_single_flipped_bit_before_the_checkpoint_is_missed(written: tuple[list[bytes], list[Checkpoint]]) -> None:
    lines, checkpoints = written
    for bit in range(len(lines[3]) * 8):
        flipped = bytearray(lines[3])
        flipped[bit // 8] ^= 1 << bit % 8
        assert verify_log([*lines[:3], bytes(flipped), *lines[4:]], checkpoints, is_signed).problems, bit


def test_what_follows_the_last_checkpoint_can_be_cut_off_and_is_said_not_to_be_proven(
    written: tuple[list[bytes], list[Checkpoint]],
) -> None:
    lines, checkpoints = written
    found = verify_log(lines[:8], checkpoints, is_signed)
    assert (found.lines, found.proven, found.problems) == (8, 6, ())


def test_a_log_that_was_cut_and_grew_again_is_found_though_the_host_signed_what_came_after(
    written: tuple[list[bytes], list[Checkpoint]],
) -> None:
    lines, checkpoints = written
    made = rewritten(lines)[:7]
    checkpoints += [signed(Checkpoint(number, digest_of(made[number - 1]))) for number in (2, 6, 7)]
    found = verify_log(made, checkpoints, is_signed)
    assert [(one.line, one.what) for one in found.problems] == [(6, "the line is not the one of the checkpoint")]
    assert found.proven == 2, "what stands behind the first problem is proven by nobody"


def test_a_checkpoint_of_somebody_else_proves_nothing(written: tuple[list[bytes], list[Checkpoint]]) -> None:
    lines, checkpoints = written
    forged = signed(checkpoints[0], Ed25519PrivateKey.generate())
    found = verify_log(lines, [forged], is_signed)
    assert found.proven == 0 and [one.what for one in found.problems] == ["a checkpoint is not signed by the host"]


def test_half_a_line_that_a_crash_left_is_cut_before_the_next(log: AuditLog, tmp_path: Path) -> None:
    log.append(decision(0))
    with (tmp_path / "audit.jsonl").open("ab") as stream:
        stream.write(b'{"half":')
    log.append(decision(1))
    assert verify_log(log.lines(), [], is_signed).problems == ()
    assert log.checkpoint().n == 2


def test_writers_of_several_processes_make_one_chain(log: AuditLog) -> None:
    children = []
    for number in range(6):
        child = os.fork()
        if child == 0:
            for step in range(5):
                log.append(decision(number * 10 + step))
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
    found = verify_log(log.lines(), [], is_signed)
    assert (found.lines, found.problems) == (30, ())


def test_a_log_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(CannotRecord):
        AuditLog(tmp_path / "no such folder" / "audit.jsonl").append(decision())


def test_a_decision_that_is_too_long_to_be_found_again_is_not_recorded_and_the_next_one_is(log: AuditLog) -> None:
    with pytest.raises(CannotRecord):
        log.append({**decision(), "tenant": "t" * 70_000})
    log.append(decision(1))
    log.append(decision(2))
    assert verify_log(log.lines(), [], is_signed).lines == 2


def test_a_log_with_a_spoilt_last_line_is_not_continued(log: AuditLog, tmp_path: Path) -> None:
    log.append(decision())
    (tmp_path / "audit.jsonl").write_bytes(b"spoilt\n")
    with pytest.raises(CannotRecord):
        log.append(decision(1))


def test_metrics_are_recomputed_from_the_log(log: AuditLog) -> None:
    log.append(decision(1, "deny", "X-EXPIRED", "X-SAN-MISMATCH", ms=4.0))
    log.append(decision(1, "admit", ms=2.0))
    log.append(decision(2, "deny", "X-EXPIRED", ms=3.0))
    found = metrics(log.lines())
    assert (found.decisions, found.servers, found.admitted, found.share_admitted) == (3, 2, 1, 0.5)
    assert found.mean_ms == pytest.approx((5.0 + 3.0 + 4.0) / 3)
    assert found.failures == {"X-EXPIRED": 2, "X-SAN-MISMATCH": 1}
    assert found.checks == {"identity.signature": 1.5, "identity.validity": 0.25, "appraise.rule": 0.5}


def test_a_record_has_all_its_members_and_no_others() -> None:
    with pytest.raises(ValueError, match="more"):
        line_of(1, "", {**decision(), "more": 1})
    with pytest.raises(NotJson):
        read_line(b'{"v": 1}\n')


BEFORE = Known("k1", "spiffe://prod.example/api", "a1", (("jwt-svid", "spiffe://prod.example/api"),))
DRIFTED = {
    "D-KEY-CHANGED": replace(BEFORE, spki="k2"),
    "D-IDENTITY-CHANGED": replace(BEFORE, spiffe_id="spiffe://prod.example/other"),
    "D-ANCHOR-CHANGED": replace(BEFORE, anchor="a2"),
    "D-EVIDENCE-WEAKER": replace(BEFORE, evidence=()),
    "D-EVIDENCE-CHANGED": replace(BEFORE, evidence=(("jwt-svid", "spiffe://prod.example/other"),)),
}


def drifted(
    now: Known, drift: Drift = Drift.DENY, *, before: Known | None = BEFORE, approved: tuple[str, ...] = ()
) -> Outcome:
    findings = Findings()
    judge_drift(findings, before, now, drift, approved)
    return findings.outcome()


@pytest.mark.parametrize("code", DRIFTED)
def test_each_change_is_told_by_name_and_handled_by_policy(code: str) -> None:
    assert drifted(DRIFTED[code]).codes == {code}
    assert drifted(DRIFTED[code], Drift.APPROVE).codes == {code, "D-APPROVAL"}
    for allowed in (
        drifted(DRIFTED[code], Drift.ALLOW),
        drifted(DRIFTED[code], Drift.APPROVE, approved=(DRIFTED[code].digest,)),
    ):
        (check,) = allowed.checks
        assert allowed.codes == set() and check.result is Result.SKIP
        assert check.why in (f"allowed: {code}", f"approved: {code}")


def test_an_approval_is_of_one_change_alone() -> None:
    first, second = (replace(BEFORE, spki=digit * 64) for digit in "12")
    assert not drifted(first, Drift.APPROVE, approved=(first.digest,)).codes
    assert drifted(second, Drift.APPROVE, approved=(first.digest,)).codes == {"D-KEY-CHANGED", "D-APPROVAL"}
    assert drifted(first, Drift.DENY, approved=(first.digest,)).codes == {"D-KEY-CHANGED"}


def test_every_code_of_drift_has_its_case() -> None:
    assert set(GROUPS["Drift"]) == set(DRIFTED) | {"D-APPROVAL"}


def test_the_same_server_and_a_new_one_have_not_drifted() -> None:
    assert drifted(BEFORE).codes == set() and drifted(BEFORE).checks[0].result is Result.PASS
    assert drifted(BEFORE, before=None).checks[0].why == "never admitted before"
    assert drifted(replace(BEFORE, evidence=(*BEFORE.evidence, ("tpm", "")))).codes == set()


def test_evidence_that_did_not_come_is_an_error_of_its_own_and_no_drift() -> None:
    assert drifted(replace(BEFORE, evidence=(("evidence", ""),))).codes == set()
