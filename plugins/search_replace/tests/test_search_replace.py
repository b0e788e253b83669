"""The stage as a pipeline calls it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from penstock_plugin import testing
from rules import MAX_TEXT_CHARS, RuleError
from search_replace import plugin
from texts import FIELDS

FOLDER = Path(__file__).parent.parent


def replaced(args: object, *rules: dict[str, object], **config: object) -> testing.Outcome:
    payload = {"name": "t", "args": args}
    return testing.call(plugin, "replace", payload=payload, config={"rules": list(rules), **config})


def test_nested_texts_are_replaced_and_counted() -> None:
    outcome = replaced({"a": ["x1", {"b": "x2 x3"}], "n": 1, "z": None}, {"search": r"x(\d)", "replace": r"y\1"})
    assert outcome.payload["args"] == {"a": ["y1", {"b": "y2 y3"}], "n": 1, "z": None}
    assert outcome.out == {"replacements": 3}


def test_a_call_without_a_match_is_allowed_as_it_is() -> None:
    outcome = replaced({"a": "x"}, {"search": "q", "replace": ""})
    assert not outcome.changed
    assert outcome.out == {"replacements": 0}


def test_member_names_change_only_when_told_to() -> None:
    rule = {"search": "old", "replace": "new"}
    assert replaced({"old": {"old": 1}}, rule).payload["args"] == {"old": {"old": 1}}
    assert replaced({"old": {"old": 1}}, rule, keys=True).payload["args"] == {"new": {"new": 1}}


def test_headers_are_rewritten_but_for_credentials() -> None:
    headers = {"authorization": "Bearer internal", "x-team": "internal"}
    outcome = testing.call(
        plugin,
        "replace",
        hook="http_pre_request",
        payload={"path": "/", "method": "GET", "headers": headers},
        config={"rules": [{"search": "internal", "replace": "public"}]},
    )
    assert outcome.payload["headers"] == {"authorization": "Bearer internal", "x-team": "public"}


def test_the_manifest_declares_what_the_walk_looks_at() -> None:
    stage = tomllib.loads((FOLDER / "pyproject.toml").read_text())["tool"]["penstock"]["stages"]["replace"]
    declared = {
        hook: tuple(path.removeprefix("payload.") for path in use["writes"]) for hook, use in stage["hooks"].items()
    }
    assert declared == FIELDS
    assert all(use["reads"] == use["writes"] for use in stage["hooks"].values())


def test_many_texts_cannot_grow_without_bound_together() -> None:
    """Each alone would be short enough; an answer of so many bytes is refused by the host anyway."""
    with pytest.raises(RuleError, match=f"longer than {MAX_TEXT_CHARS} characters together"):
        replaced(["a" * 100] * 10, {"search": "a", "replace": "b" * 10_000})
