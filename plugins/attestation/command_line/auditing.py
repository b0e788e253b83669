"""`attest audit`: what became of the record of decisions, and what it says."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from attest.audit import Checkpoint, Metrics, metrics, verify_log
from attest.statements import read_statements
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from world.auditlog import AuditLog

__all__ = ["add_audit"]

_SLOWEST = 5
"""How many checks a report names."""


def add_audit(audit: argparse.ArgumentParser) -> None:
    """Describe the commands."""
    actions = audit.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("verify", help="find edits, deletions, reordering and truncation")
    _add_log(check)
    check.add_argument("--statements", type=Path, help="what the host signed: statements.jws of its state folder")
    check.add_argument(
        "--key", action="append", default=[], type=Path, help="a public key of the host: signing.pub.pem (repeatable)"
    )
    check.set_defaults(run=_verify)
    report = actions.add_parser("report", help="recompute the metrics")
    _add_log(report)
    report.add_argument("--format", choices=("json", "prometheus"), default="json")
    report.set_defaults(run=_report)


def _add_log(action: argparse.ArgumentParser) -> None:
    action.add_argument("log", type=Path, nargs="?", help="default: audit.jsonl of the plugin's data directory")


def _log(given: argparse.Namespace, *, may_be_gone: bool = False) -> AuditLog:
    file = given.log or (given.data / "audit.jsonl" if given.data else None)
    if file is None:
        raise ValueError("name the log: there is no data directory to look into")
    if not file.exists() and not may_be_gone:
        raise ValueError(f"there is no log {file}")
    return AuditLog(file)


def _verify(given: argparse.Namespace) -> int:
    keys = [_key(file) for file in given.key]

    def is_signed(checkpoint: Checkpoint) -> bool:
        return any(_is_signed_by(key, checkpoint) for key in keys)

    log = _log(given, may_be_gone=given.statements is not None)  # that it is gone is then what was found
    lines = given.statements.read_bytes().splitlines() if given.statements else []
    said = read_statements(lines)
    found = verify_log(log.lines(), said.checkpoints, is_signed)
    for number in said.unreadable:
        print(f"statement {number}: not a statement of the host")
    for problem in found.problems:
        print(f"line {problem.line}: {problem.what}")
    print(f"{found.lines} lines, {len(said.checkpoints)} checkpoints, proven up to line {found.proven}")
    after = "of the lines" if not found.proven else f"after line {found.proven}"
    print(f"What stands {after} may have been cut off, or written anew, without a trace.")
    return 1 if found.problems or said.unreadable else 0


def _key(file: Path) -> Ed25519PublicKey:
    key = load_pem_public_key(file.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{file} holds no Ed25519 key")
    return key


def _is_signed_by(key: Ed25519PublicKey, checkpoint: Checkpoint) -> bool:
    try:
        key.verify(checkpoint.signature, checkpoint.said)
    except InvalidSignature:
        return False
    return True


def _report(given: argparse.Namespace) -> int:
    found = metrics(_log(given).lines())
    for problem in found.left_out:
        print(f"left out: line {problem.line}: {problem.what}", file=sys.stderr)
    print(_prometheus(found) if given.format == "prometheus" else json.dumps(_told(found), indent=2))
    return 0


def _told(found: Metrics) -> dict[str, object]:
    return {
        "decisions": found.decisions,
        "servers": found.servers,
        "share_admitted": found.share_admitted,
        "mean_verification_ms": round(found.mean_ms, 3),
        "failures": dict(sorted(found.failures.items(), key=lambda one: (-one[1], one[0]))),
        "slowest_checks_ms": dict(_slowest(found)),
    }


def _slowest(found: Metrics) -> list[tuple[str, float]]:
    each = sorted(found.checks.items(), key=lambda one: (-one[1], one[0]))
    return [(name, round(ms, 3)) for name, ms in each[:_SLOWEST]]


def _prometheus(found: Metrics) -> str:
    """For a collector that reads files. Codes are the documented ones, so their number is bounded."""
    name = "penstock_attestation"
    single = {
        "decisions": found.decisions,
        "servers": found.servers,
        "servers_admitted_ratio": found.share_admitted,
        "verification_mean_seconds": round(found.mean_ms / 1000, 6),
    }
    lines = [f"# TYPE {name}_{key} gauge\n{name}_{key} {value}" for key, value in single.items()]
    lines.append(f"# TYPE {name}_failures gauge")
    lines += [f'{name}_failures{{code="{code}"}} {count}' for code, count in sorted(found.failures.items())]
    return "\n".join(lines)
