"""The commands of the plugin, run in its own environment: `python commands.py verify|audit|anchors ...`.

They are the plugin's and not the host's: a host that offers them starts this file with the plugin's interpreter and
hands its arguments on.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attest.audit import Checkpoint, metrics, verify_log
from attest.bundles import read_bundle
from attest.certificates import Refused, parse
from attest.chain import verify_chain
from attest.jwtsvid import TokenRules, verify_jwt_svid
from attest.policy import TlsIdentity, read_policy
from attest.revocation import Collateral
from attest.search import Anchors
from attest.strictjson import NotJson, read_object
from attest.urls import read_url
from attest.verdict import Outcome, Verdict
from attest.x509svid import SvidRules, verify_x509_svid
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from world.auditlog import AuditLog
from world.settings import pem_blocks
from world.trust import Kind, OlderSequence, TrustStore

_SOON = timedelta(days=30)
"""How long before an anchor's end its listing warns."""

_ADMITTED, _DENIED, _WRONG = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 admitted or done, 1 not admitted or found wrong, 2 misused."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except (ValueError, OSError, Refused) as error:
        print(f"error: {error}", file=sys.stderr)
        return _WRONG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="attest", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    verify = commands.add_parser("verify", help="verify a file as the stages would, at any time")
    verify.add_argument("file", type=Path, metavar="FILE", help="a chain in PEM, or a token")
    verify.add_argument("--kind", required=True, choices=("tls", "x509-svid", "jwt-svid"))
    verify.add_argument("--policy", required=True, type=Path)
    verify.add_argument("--rule", required=True, help="the rule of the policy to hold it to")
    verify.add_argument("--url", help="for tls: the URL that the server was asked under")
    verify.add_argument("--anchors", type=Path, help="for tls: the anchors, in PEM")
    verify.add_argument("--bundle", type=Path, help="for identities: the bundle of the trust domain")
    verify.add_argument("--trust-domain", default="", help="for identities: whose bundle it is")
    verify.add_argument("--audience", action="append", default=[], help="for jwt-svid: an audience that is taken")
    verify.add_argument("--crl", action="append", default=[], type=Path, help="a revocation list, in PEM")
    verify.add_argument("--at", type=datetime.fromisoformat, help="the time to verify at; default: now")
    verify.set_defaults(run=_verify)
    _add_audit(commands.add_parser("audit", help="the record of decisions"))
    _add_anchors(commands.add_parser("anchors", help="the trust store"))
    return parser


def _add_audit(audit: argparse.ArgumentParser) -> None:
    actions = audit.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("verify", help="find edits, deletions, reordering and truncation")
    check.add_argument("log", type=Path)
    check.add_argument("--checkpoints", type=Path, help="signed checkpoints, one JSON object a line")
    check.add_argument("--key", type=Path, help="the host's public key (Ed25519), in PEM")
    check.set_defaults(run=_audit_verify)
    report = actions.add_parser("report", help="recompute the metrics")
    report.add_argument("log", type=Path)
    report.set_defaults(run=_audit_report)


def _add_anchors(anchors: argparse.ArgumentParser) -> None:
    actions = anchors.add_subparsers(required=True, metavar="ACTION")
    for name, run in (("list", _list), ("add", _add), ("rotate", _rotate), ("remove", _remove)):
        action = actions.add_parser(name)
        action.add_argument("--data", required=True, type=Path, help="the plugin's data directory")
        if name != "list":
            action.add_argument("set", metavar="SET")
        if name in ("add", "rotate"):
            action.add_argument("file", type=Path, metavar="FILE", help="anchors in PEM")
            action.add_argument("--sequence", type=int, help="default: the next")
        action.set_defaults(run=run)


def _verify(given: argparse.Namespace) -> int:
    policy = read_policy(given.policy.read_bytes())
    rule = next((one for one in policy.rules if one.name == given.rule), None)
    if rule is None:
        raise ValueError(f"the policy has no rule {given.rule}")
    at = given.at or datetime.now(UTC)
    if at.tzinfo is None:
        raise ValueError("--at needs an offset, such as 2026-01-01T00:00:00+00:00")
    outcome = _outcome(given, rule, at)
    print(json.dumps(_told(outcome), indent=2))
    return _ADMITTED if outcome.verdict is Verdict.ADMIT else _DENIED


def _outcome(given: argparse.Namespace, rule: object, at: datetime) -> Outcome:
    identity = getattr(rule, "identity", None)
    data = given.file.read_bytes()
    lists = Collateral(crls=tuple(der for file in given.crl for der in pem_blocks(file.read_text())))
    if given.kind == "tls":
        if not isinstance(identity, TlsIdentity) or not given.url or not given.anchors:
            raise ValueError("tls needs a rule of that kind, --url and --anchors")
        anchors = Anchors.of(pem_blocks(given.anchors.read_text()))
        return verify_chain(pem_blocks(data.decode()), anchors, identity.rules(read_url(given.url)), at, lists)
    if not given.bundle or not given.trust_domain:
        raise ValueError("identities need --bundle and --trust-domain")
    bundles = {given.trust_domain: read_bundle(given.trust_domain, given.bundle.read_bytes())}
    if given.kind == "x509-svid":
        if identity is None or isinstance(identity, TlsIdentity):
            raise ValueError("x509-svid needs a rule of that kind")
        rules = SvidRules(identity.allowed, identity.rules())
        return verify_x509_svid(pem_blocks(data.decode()), bundles, rules, at, lists)
    evidence = getattr(rule, "evidence", None)
    allowed = evidence.allowed if evidence is not None else ()
    return verify_jwt_svid(data.strip(), bundles, TokenRules(frozenset(given.audience), allowed), at)


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


def _audit_verify(given: argparse.Namespace) -> int:
    key = load_pem_public_key(given.key.read_bytes()) if given.key else None

    def is_signed(checkpoint: Checkpoint) -> bool:
        if not isinstance(key, Ed25519PublicKey):
            return False
        try:
            key.verify(checkpoint.signature, checkpoint.body())
        except InvalidSignature:
            return False
        return True

    lines = given.checkpoints.read_bytes().splitlines() if given.checkpoints else []
    found = verify_log(AuditLog(given.log).lines(), [_checkpoint(line) for line in lines], is_signed)
    for problem in found.problems:
        print(f"line {problem.line}: {problem.what}")
    print(f"{found.lines} lines, proven up to line {found.proven}; what follows could be cut off unnoticed")
    return _DENIED if found.problems else _ADMITTED


def _checkpoint(line: bytes) -> Checkpoint:
    document = read_object(line)
    number, digest, signature = (document.get(name) for name in ("n", "digest", "signature"))
    if type(number) is not int or not isinstance(digest, str) or not isinstance(signature, str):
        raise NotJson("not a checkpoint: n, digest, signature")
    return Checkpoint(number, digest, base64.b64decode(signature))


def _audit_report(given: argparse.Namespace) -> int:
    found = metrics(AuditLog(given.log).lines())
    report = {
        "decisions": found.decisions,
        "servers": found.servers,
        "share_admitted": found.share_admitted,
        "mean_verification_ms": round(found.mean_ms, 3),
        "failures": dict(sorted(found.failures.items(), key=lambda one: -one[1])),
    }
    print(json.dumps(report, indent=2))
    return _ADMITTED


def _list(given: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    for name, item in _store(given).snapshot().of(Kind.ANCHORS).items():
        if item.data is None:
            print(f"{name} sequence {item.sequence}: removed")
            continue
        print(f"{name} sequence {item.sequence}")
        for one in map(parse, pem_blocks(item.data.decode())):
            warning = "; ENDS SOON" if one.not_after < now + _SOON else ""
            print(f"  {one.digest} {one.view.subject.rfc4514_string()} until {one.not_after.date()}{warning}")
    return _ADMITTED


def _add(given: argparse.Namespace) -> int:
    """Add to a set what is not in it yet: the first half of a rotation."""
    item = _store(given).snapshot().of(Kind.ANCHORS).get(given.set)
    before = item.data.decode() if item is not None and item.data is not None else ""
    return _put(given, before + given.file.read_text())


def _rotate(given: argparse.Namespace) -> int:
    """Put a set in the place of the one before."""
    return _put(given, given.file.read_text())


def _put(given: argparse.Namespace, text: str) -> int:
    Anchors.of(pem_blocks(text))  # what cannot be read is not stored
    try:
        item = _store(given).put(Kind.ANCHORS, given.set, text.encode(), given.sequence)
    except OlderSequence as error:
        print(f"refused: {error}", file=sys.stderr)
        return _DENIED
    print(f"{given.set} sequence {item.sequence}")
    return _ADMITTED


def _remove(given: argparse.Namespace) -> int:
    print(f"{given.set} sequence {_store(given).put(Kind.ANCHORS, given.set, None).sequence}: removed")
    return _ADMITTED


def _store(given: argparse.Namespace) -> TrustStore:
    return TrustStore(given.data / "trust.db")


if __name__ == "__main__":
    sys.exit(main())
