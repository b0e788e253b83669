"""NIST's Public Key Interoperability Test Suite, sections 4.1 to 4.16: the table `pkits.tsv` as values.

One row for each subtest: the certificate to verify; the other certificates and the lists handed over; initial policies
(`any`, or numbers of NIST's test policies) and inputs; what the standard says; our verdict and codes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import cryptography_vectors
from attest.chain import verify_chain
from attest.revocation import Collateral
from attest.rules import ANY_POLICY, PROFILES, PolicyInputs, Revocation
from attest.search import Anchors
from attest.verdict import Outcome

DATA = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
AT = datetime(2015, 1, 1, tzinfo=UTC)
_POLICY_ARC = "2.16.840.1.101.3.2.1.48."


@dataclass(frozen=True)
class Row:
    """One subtest."""

    subtest: str
    target: str
    certificates: tuple[str, ...]
    lists: tuple[str, ...]
    policies: tuple[str, ...]
    inputs: tuple[str, ...]
    is_valid: bool
    verdict: str
    codes: frozenset[str]

    def initial_policies(self, any_policy: str) -> frozenset[str]:
        return frozenset(any_policy if policy == "any" else _POLICY_ARC + policy for policy in self.policies)

    def outcome(self) -> Outcome:
        inputs = PolicyInputs(
            self.initial_policies(ANY_POLICY),
            explicit="explicit" in self.inputs,
            inhibit_mapping="inhibit-mapping" in self.inputs,
            inhibit_any="inhibit-any" in self.inputs,
        )
        rules = replace(PROFILES["path"], revocation=Revocation.HARD, policies=inputs)
        others = tuple(certificate(name) for name in self.certificates)
        lists = tuple((DATA / "crls" / f"{name}.crl").read_bytes() for name in self.lists)
        anchors = Anchors.of([certificate("TrustAnchorRootCertificate")])
        collateral = Collateral(crls=lists, certificates=others)
        return verify_chain([certificate(self.target), *others], anchors, rules, AT, collateral)


def certificate(name: str) -> bytes:
    return (DATA / "certs" / f"{name}.crt").read_bytes()


def rows() -> list[Row]:
    lines = (Path(__file__).parent / "pkits.tsv").read_text().splitlines()[1:]
    return [_row(*line.split("\t")) for line in lines]


def _row(
    subtest: str, target: str, certificates: str, lists: str, policies: str, inputs: str, standard: str, verdict: str,
    codes: str,
) -> Row:  # fmt: skip
    def words(text: str) -> tuple[str, ...]:
        return () if text == "-" else tuple(text.split())

    return Row(
        subtest, target, words(certificates), words(lists), words(policies), words(inputs), standard == "valid",
        verdict, frozenset(words(codes)),
    )  # fmt: skip
