"""x509-limbo, wherever its `limbo.json` lies: `python tests/limbo.py limbo.json` says how many come out as expected.

`limbo.tsv` chooses the profile of a case by the longest prefix of its id; no case has an entry of its own. A case
without a validation time is verified at the beginning of 2025. Beside it stands what `cryptography` says by itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from attest.chain import verify_chain
from attest.revocation import Collateral
from attest.rules import PROFILES, Peer, Purpose, Revocation, Rules
from attest.search import Anchors
from attest.verdict import Outcome, Verdict
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification

WITHOUT_TIME = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """One test case of the suite."""

    data: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.data["id"])

    @property
    def is_valid(self) -> bool:
        return bool(self.data["expected_result"] == "SUCCESS")

    @property
    def at(self) -> datetime:
        text = self.data["validation_time"]
        return datetime.fromisoformat(text) if text else WITHOUT_TIME

    def rules(self) -> Rules:
        lists, depth = self.data["crls"], self.data["max_chain_depth"]
        rules = replace(
            PROFILES[profile_of(self.id)], peers=self._peers(), purpose=Purpose[self.data["validation_kind"]]
        )
        rules = replace(rules, revocation=Revocation.HARD if lists else Revocation.OFF)
        return rules if depth is None else replace(rules, max_depth=depth)

    def _peers(self) -> tuple[Peer, ...]:
        single = [self.data["expected_peer_name"]] if self.data["expected_peer_name"] else []
        names = [*single, *(self.data["expected_peer_names"] or ())]
        return tuple(ip_address(one["value"]) if one["kind"] == "IP" else one["value"] for one in names)

    def outcome(self) -> Outcome:
        chain = [self.data["peer_certificate"], *self.data["untrusted_intermediates"]]
        anchors = Anchors.of([_der(pem) for pem in self.data["trusted_certs"]])
        lists = tuple(_der(pem) for pem in self.data["crls"] or ())
        return verify_chain([_der(pem) for pem in chain], anchors, self.rules(), self.at, Collateral(crls=lists))

    def plain(self) -> bool:
        """Whether `cryptography` by itself, with nothing of ours, admits."""
        peers = self._peers()
        try:
            store = verification.Store([_load(pem) for pem in self.data["trusted_certs"]])
            builder = verification.PolicyBuilder().store(store).time(self.at.replace(tzinfo=None))
            if self.data["max_chain_depth"] is not None:
                builder = builder.max_chain_depth(self.data["max_chain_depth"])
            above = [_load(pem) for pem in self.data["untrusted_intermediates"]]
            leaf = _load(self.data["peer_certificate"])
            if self.data["validation_kind"] == "CLIENT":
                builder.build_client_verifier().verify(leaf, above)
            else:
                name = peers[0] if peers else ""
                subject = x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name)
                builder.build_server_verifier(subject).verify(leaf, above)
        except (verification.VerificationError, ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
            return False
        return True


def profile_of(case: str) -> str:
    table = dict(line.split("\t") for line in (Path(__file__).parent / "limbo.tsv").read_text().splitlines()[1:])
    return table[max((prefix for prefix in table if case.startswith(prefix)), key=len)]


def cases(file: Path) -> Iterator[Case]:
    for data in json.loads(file.read_text())["testcases"]:
        yield Case(data)


def _load(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _der(pem: str) -> bytes:
    if "X509 CRL" in pem:
        return x509.load_pem_x509_crl(pem.encode()).public_bytes(Encoding.DER)
    return _load(pem).public_bytes(Encoding.DER)


def main() -> int:
    every = list(cases(Path(sys.argv[1])))
    wrong = [case for case in every if (case.outcome().verdict is Verdict.ADMIT) is not case.is_valid]
    plain = sum(1 for case in every if case.plain() is case.is_valid)
    for case in wrong:
        print(f"{case.id}: expected {case.data['expected_result']}, codes {sorted(case.outcome().codes)}")
    print(f"{len(every) - len(wrong)} of {len(every)} as expected; cryptography by itself {plain} of {len(every)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
