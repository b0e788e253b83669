"""Rules in Rego may only object: whatever they say, nobody is let in for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from servers import Shown
from test_page import PAGE
from test_stages import TLS, admission, codes, config, data, expired, leaf, serve, shown
from world.rego import BadRego, object_by, read_rego
from world.settings import read_settings

assert data and serve  # fixtures

HEAD = "package penstock.admission\n\nimport rego.v1\n\n"
NOBODY = HEAD + 'deny contains text if { false; text := "" }\n'


def rego(text: str) -> dict[str, Any]:
    return {"rego": HEAD + text}


def test_rules_without_an_objection_change_nothing(serve: Callable[[Shown], int]) -> None:
    good, bad = serve(shown()), serve(shown(leaf(expired)))
    rules = rego('deny contains text if { input.verdict == "never"; text := "x" }')
    assert admission(good, config(good, TLS) | rules).out["verdict"] == "admit"
    assert codes(admission(bad, config(bad, TLS) | rules)) == {"X-EXPIRED"}


def test_an_objection_is_a_reason_with_its_text(serve: Callable[[Shown], int]) -> None:
    port = serve(shown())
    rules = rego(
        'deny contains text if { some name in input.claims.identity.names; text := concat(" ", ["not", name]) }'
    )
    decided = admission(port, config(port, TLS) | rules)
    assert codes(decided) == {"A-REGO-DENY"} and decided.violation is not None
    details: Any = decided.violation.details
    assert [one["actual"] for one in details["reasons"]] == ["not 127.0.0.1"]


@pytest.mark.parametrize(
    "text",
    [
        "other := 1",
        "deny := true",
        "deny := {1, 2}",
        'deny := {"a": "b"}',
        'deny := "no"',
        'deny contains "x" if to_number(input.server) > 1',
        'deny contains "x" if 1 / 0 == 1',
        'deny contains "x" if not http.send({"method": "get", "url": "http://127.0.0.1:1/"})',
        "deny contains x if { x := numbers.range(1, 100000000)[_] }",
    ],
)
def test_rules_that_say_nothing_usable_are_an_error(serve: Callable[[Shown], int], text: str) -> None:
    port = serve(shown())
    decided = admission(port, config(port, TLS) | rego(text))
    assert codes(decided) == {"A-REGO-ERROR"} and decided.violation is not None
    assert decided.violation.code == "attestation.error" and decided.violation.retry_after_ms is None


@pytest.mark.parametrize("text", ["deny :=", "package x\n}"])
def test_what_is_no_rego_is_not_taken_into_use(text: str) -> None:
    with pytest.raises(BadRego):
        read_rego(HEAD + text)


def test_the_rules_that_the_page_shows_are_rules() -> None:
    """From a checkout; a plugin that was copied out of it has no page."""
    page = PAGE.read_text() if PAGE.exists() else f"```rego\n{NOBODY}```"
    (shown,) = re.findall(r"```rego\n(.*?)```", page, re.DOTALL)
    claims: dict[str, Any] = {"identity": {"valid_until": 2_000_000_000.0}}
    old, new = (object_by(read_rego(shown), {"claims": claims, "at": at}) for at in (0.0, 1_999_999_999.0))
    assert (old.codes, new.codes) == ({"A-REGO-DENY"} if PAGE.exists() else set(), set())


def test_the_digest_of_the_policy_is_of_both() -> None:
    digests = {read_settings(config(443, TLS) | more, {}).policy.digest for more in ({}, {"rego": NOBODY})}
    assert len(digests) == 2
