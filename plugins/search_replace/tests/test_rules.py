"""Rules: order, groups, limits, and errors that name the rule."""

from __future__ import annotations

import tracemalloc

import pytest
from rules import MAX_TEXT_CHARS, RuleError, Rules


def applied(text: str, *rules: dict[str, object], path: tuple[str, ...] = ("args", "q")) -> tuple[str, int]:
    return Rules.of({"rules": list(rules)}).apply(text, path)


def test_each_rule_sees_what_the_earlier_ones_left() -> None:
    assert applied("a", {"search": "a", "replace": "b"}, {"search": "b", "replace": "c"}) == ("c", 2)


def test_groups_are_put_in_by_number_and_by_name() -> None:
    rule = {"search": r"(\w+)@(?P<host>\w+)", "replace": r"\g<host> at \1"}
    assert applied("bob@home", rule) == ("home at bob", 1)


def test_literal_rules_know_no_pattern_and_no_group() -> None:
    assert applied(r"a.b axb", {"search": "a.b", "replace": r"\1", "literal": True}) == (r"\1 axb", 1)


def test_case_is_ignored_when_asked_for() -> None:
    assert applied("Secret SECRET", {"search": "secret", "replace": "-", "ignore_case": True}) == ("- -", 2)


def test_text_beyond_ascii_keeps_its_characters() -> None:
    assert applied("größe 🙂 größe", {"search": "größe", "replace": "Maß"}) == ("Maß 🙂 Maß", 2)


def test_a_rule_keeps_to_its_fields() -> None:
    rule = {"search": "a", "replace": "b", "fields": ["args.note"]}
    assert applied("a", rule, path=("args", "q")) == ("a", 0)
    assert applied("a", rule, path=("args", "note", 0)) == ("b", 1)


@pytest.mark.parametrize(("search", "column"), [("(foo", 1), ("ab(?=c)", 3), ("x[z-a]", 3), ("*x", 1), ("a\\8", 2)])
def test_a_bad_pattern_is_named_by_rule_and_column(search: str, column: int) -> None:
    with pytest.raises(RuleError, match=rf"^rule 2: search .*, column {column}: "):
        applied("", {"search": "ok", "replace": ""}, {"search": search, "replace": ""})


@pytest.mark.parametrize("replace", [r"\2", r"\g<nobody>", r"\q", "\\"])
def test_a_bad_reference_is_refused_before_any_call(replace: str) -> None:
    with pytest.raises(RuleError, match=r"^rule 1: replace .*column 1"):
        applied("", {"search": "(a)", "replace": replace})


def test_a_pattern_that_would_hang_a_backtracking_engine_is_quick() -> None:
    assert applied("a" * 50_000 + "b", {"search": "(a+)+$", "replace": ""})[1] == 0


def test_text_cannot_grow_without_bound() -> None:
    doubling = [{"search": "a", "replace": "aaaaaaaaaa"}] * 9
    with pytest.raises(RuleError, match=f"longer than {MAX_TEXT_CHARS}"):
        applied("a", *doubling)


def test_a_text_that_would_grow_too_long_is_given_up_before_the_memory_is_spent() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RuleError, match=f"^rule 1 makes a text longer than {MAX_TEXT_CHARS}"):
            applied("a" * 20_000, {"search": "a", "replace": "b" * 10_000})
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_TEXT_CHARS
    finally:
        tracemalloc.stop()
