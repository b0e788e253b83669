"""Every subtest of NIST's suite comes out as the standard says, with the codes of the table."""

from __future__ import annotations

import asyncio
import logging

import pytest
from asn1crypto.x509 import Certificate  # type: ignore[import-untyped]  # it ships no types
from attest.verdict import Verdict
from pkits import AT, DATA, Row, certificate, rows
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathError, ValidationError
from pyhanko_certvalidator.policy_decl import AcceptAllAlgorithms, PKIXValidationParams

ROWS = rows()

OTHERWISE_THERE = {"4.1.5"}
"""Where the library below departs from the standard: keys that inherit their DSA parameters."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.subtest)
def test_a_subtest_comes_out_as_the_standard_says(row: Row) -> None:
    outcome = row.outcome()
    assert (outcome.verdict is Verdict.ADMIT) is row.is_valid
    assert (outcome.verdict.value, outcome.codes) == (row.verdict, row.codes), outcome.reasons


def test_the_table_has_every_section() -> None:
    tests = {tuple(row.subtest.split(".")[1:3]) for row in ROWS}
    counts = [sum(1 for section, _ in tests if section == str(number)) for number in range(1, 17)]
    assert counts == [6, 8, 11, 21, 8, 17, 5, 20, 8, 14, 11, 10, 38, 35, 10, 2]


def test_an_independent_library_agrees_about_every_subtest() -> None:
    """pyhanko-certvalidator, with fetching off, says the same of all rows but one."""
    logging.disable(logging.CRITICAL)
    try:
        differing = {row.subtest for row in ROWS if _is_valid_elsewhere(row) is not row.is_valid}
    finally:
        logging.disable(logging.NOTSET)
    assert differing == OTHERWISE_THERE


def _is_valid_elsewhere(row: Row) -> bool:
    others = [Certificate.load(certificate(name)) for name in row.certificates]
    context = ValidationContext(
        trust_roots=[Certificate.load(certificate("TrustAnchorRootCertificate"))],
        other_certs=others,
        moment=AT,
        allow_fetching=False,
        crls=[(DATA / "crls" / f"{name}.crl").read_bytes() for name in row.lists],
        revocation_mode="require",
        weak_hash_algos=set(),
        algorithm_usage_policy=AcceptAllAlgorithms(),
    )
    parameters = PKIXValidationParams(
        user_initial_policy_set=row.initial_policies("any_policy"),
        initial_policy_mapping_inhibit="inhibit-mapping" in row.inputs,
        initial_explicit_policy="explicit" in row.inputs,
        initial_any_policy_inhibit="inhibit-any" in row.inputs,
    )
    target = Certificate.load(certificate(row.target))
    validator = CertificateValidator(target, others, validation_context=context, pkix_params=parameters)
    try:
        asyncio.run(validator.async_validate_path())
    except (PathError, ValidationError):
        return False
    return True
