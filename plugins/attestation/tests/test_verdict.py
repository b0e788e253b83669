"""How reasons become a verdict."""

from __future__ import annotations

import pytest
from attest.codes import CODES, GROUPS, Effect
from attest.verdict import Check, Findings, Outcome, Reason, Result, Verdict, milliseconds, together

PASSED = Check("signature", "chain[0]", Result.PASS)
SKIPPED = Check("revocation", "chain[0]", Result.SKIP, "soft fail")
BAD = Reason("X-EXPIRED", "chain[0]")
LACKING = Reason("R-CRL-MISSING", "chain[0]")


def test_nothing_checked_is_a_denial() -> None:
    assert Outcome().verdict is Verdict.DENY
    assert Outcome((SKIPPED,)).verdict is Verdict.DENY


@pytest.mark.parametrize("order", [(BAD, LACKING), (LACKING, BAD)])
def test_deny_wins_over_error_and_error_over_admit(order: tuple[Reason, ...]) -> None:
    assert Outcome((PASSED,)).verdict is Verdict.ADMIT
    assert Outcome((PASSED,), (LACKING,)).verdict is Verdict.ERROR
    assert Outcome((PASSED,), order).verdict is Verdict.DENY
    assert Outcome((PASSED,), order).codes == {BAD.code, LACKING.code}


def test_only_an_error_for_want_of_something_is_retryable() -> None:
    assert Outcome((PASSED,), (LACKING,)).retryable
    assert not Outcome((PASSED,), (LACKING, BAD)).retryable
    assert not Outcome((PASSED,)).retryable


def test_together_nobody_outvotes_a_denial() -> None:
    admitted, denied, errs = Outcome((PASSED,)), Outcome((PASSED,), (BAD,)), Outcome((PASSED,), (LACKING,))
    assert together([admitted, admitted]).verdict is Verdict.ADMIT
    assert together([admitted, errs]).verdict is Verdict.ERROR
    assert together([admitted, errs, denied]).verdict is Verdict.DENY


@pytest.mark.parametrize("outcomes", [[], [Outcome()], [Outcome((PASSED,)), Outcome()]])
def test_a_verifier_that_checked_nothing_is_no_witness(outcomes: list[Outcome]) -> None:
    assert together(outcomes).codes == {"C-NOT-VERIFIED"}
    assert together(outcomes).verdict is Verdict.DENY


def test_a_code_that_is_not_in_the_table_cannot_be_reported() -> None:
    with pytest.raises(LookupError, match="X-UNHEARD-OF"):
        Reason("X-UNHEARD-OF", "chain[0]")


def test_claims_fall_with_the_first_reason() -> None:
    findings = Findings()
    assert findings.outcome(spki="aa").claims == {"spki": "aa"}
    findings.against("X-EXPIRED", "chain[0]")
    assert findings.outcome(spki="aa").claims == {}


def test_what_is_quoted_is_cut() -> None:
    findings = Findings()
    findings.against("X-EXPIRED", "chain[0]", "x" * 10_000, "y" * 10_000)
    (reason,) = findings.outcome().reasons
    assert len(reason.expected) == len(reason.actual) == 200


def test_codes_stand_in_one_group_each_with_a_sentence() -> None:
    every = [code for group in GROUPS.values() for code in group]
    assert len(every) == len(set(every)) == len(CODES)
    assert all(sentence.endswith(".") for group in GROUPS.values() for _, sentence in group.values())
    assert {effect for group in GROUPS.values() for effect, _ in group.values()} <= set(Effect)


def _passes(findings: Findings, path: str) -> None:
    """Nothing speaks against it."""


def _cannot_tell(findings: Findings, path: str) -> str:
    return "soft fail"


def test_each_check_says_what_it_took_by_the_timer_that_was_given(timed: None) -> None:
    findings = Findings()
    findings.run("signature", "chain[0]", _passes)
    findings.run("revocation", "chain[0]", _cannot_tell)
    assert [check.us for check in findings.outcome().checks] == [1e6, 1e6]


def test_without_a_clock_a_check_took_no_time(untimed: None) -> None:
    findings = Findings()
    findings.run("signature", "chain[0]", _passes)
    assert findings.outcome().checks == (PASSED,)


def test_a_check_that_cannot_tell_is_skipped_and_speaks_neither_for_nor_against() -> None:
    findings = Findings()
    assert findings.run("revocation", "chain[0]", _cannot_tell)
    assert [check[:4] for check in findings.outcome().checks] == [SKIPPED[:4]]
    assert findings.outcome().verdict is Verdict.DENY, "nothing was checked"


def test_what_checks_took_is_summed_over_places_and_what_did_not_run_took_nothing() -> None:
    ran = (PASSED._replace(us=1500.0), PASSED._replace(path="chain[1]", us=40.6), SKIPPED._replace(name="drift"))
    assert milliseconds((*ran, SKIPPED._replace(us=20.0))) == {"signature": 1.541, "revocation": 0.02}
