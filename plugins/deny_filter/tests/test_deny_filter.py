"""The stage as a pipeline calls it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from deny_filter import FIELDS, plugin
from penstock_plugin import testing

FOLDER = Path(__file__).parent.parent


def checked(args: object, **config: object) -> testing.Outcome:
    payload = {"name": "t", "args": args}
    return testing.call(plugin, "check", payload=payload, config={"words": ["top secret"], **config})


def test_a_call_without_a_denied_word_is_allowed_as_it_is() -> None:
    outcome = checked({"q": "nothing here"})
    assert not outcome.denied
    assert not outcome.changed
    assert outcome.out == {"matches": 0}


def test_a_violation_says_where_and_not_what() -> None:
    outcome = checked({"notes": ["fine", {"text": "my Top  Secret plan"}]})
    assert outcome.violation.code == "denied_word"
    assert outcome.violation.reason == "the call holds a denied word at args.notes[1].text"
    assert outcome.violation.details == {"matches": [{"path": "args.notes[1].text"}]}
    assert "plan" not in str(outcome.violation.as_json())


def test_a_word_in_a_member_name_is_found_and_not_repeated() -> None:
    outcome = checked({"a": {"top secret": 1}})
    assert outcome.violation.details == {"matches": [{"path": "args.a (a member name)"}]}
    assert not checked({"a": {"top secret": 1}}, keys=False).denied


def test_the_words_are_named_when_told_to() -> None:
    assert checked({"q": "TOP SECRET"}, reveal=True).violation.details["matches"][0]["word"] == "top secret"


def test_a_violation_lists_no_more_than_asked_for() -> None:
    outcome = checked({"q": ["top secret"] * 50}, max_details=3)
    assert len(outcome.violation.details["matches"]) == outcome.out["matches"] == 3


def test_words_may_come_as_a_file() -> None:
    assert checked({"q": "beta"}, words="# list\nalpha\nbeta\n").denied


def test_code_and_reason_are_the_operators() -> None:
    violation = checked({"q": "top secret"}, code="policy_7", reason="not allowed").violation
    assert (violation.code, violation.reason) == ("policy_7", "not allowed at args.q")


def test_a_request_is_searched_without_its_credentials() -> None:
    headers = {"authorization": "Bearer top secret", "user-agent": "evil-bot/1"}
    for hook in ("http_auth_resolve_user", "http_pre_request"):
        payload = {"headers": headers, "path": "/", "method": "GET"}
        outcome = testing.call(
            plugin, "check", hook=hook, payload=payload, config={"words": ["evil-bot", "top secret"]}
        )
        assert outcome.violation.details["matches"] == [{"path": "headers.user-agent"}]


@pytest.mark.parametrize("config", [{"words": []}, {"words": "# only a comment"}, {"fields": ["x"]}])
def test_a_setting_that_cannot_work_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"words|fields"):
        checked({}, **config)


def test_the_manifest_declares_what_the_walk_looks_at() -> None:
    stage = tomllib.loads((FOLDER / "pyproject.toml").read_text())["tool"]["penstock"]["stages"]["check"]
    assert {hook: tuple(use["reads"]) for hook, use in stage["hooks"].items()} == {
        hook: tuple(f"payload.{name}" for name in names) for hook, names in FIELDS.items()
    }
    assert all(use["writes"] == [] for use in stage["hooks"].values())
