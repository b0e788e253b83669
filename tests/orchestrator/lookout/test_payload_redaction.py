"""Of a payload nothing is shown but its structure, unless somebody says so; and never more than fits on a screen."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lookout.redaction import MAX_ELEMENTS, MAX_MEMBERS, MAX_PARTS, redacted, shortened

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner), max_leaves=40)

WORDS = ("boolean", "number", "null")


def leaves(value: object) -> Iterator[object]:
    """What a value holds at its ends."""
    if isinstance(value, dict):
        for member in value.values():
            yield from leaves(member)
    elif isinstance(value, list):
        for element in value:
            yield from leaves(element)
    else:
        yield value


def test_structure_keys_kinds_and_lengths_stay() -> None:
    value = {"name": "search", "args": {"q": "secret", "n": 3, "deep": [True, None, 1.5]}, "none": {}}
    assert redacted(value) == {
        "name": "text(6)",
        "args": {"q": "text(6)", "n": "number", "deep": ["boolean", "null", "number"]},
        "none": {},
    }


@given(TREES)
def test_no_value_is_left(value: object) -> None:
    for leaf in leaves(redacted(value)):
        assert isinstance(leaf, str)
        is_count = leaf.startswith(("text(", "object(", "list(")) and leaf[:-1].partition("(")[2].isdigit()
        assert leaf in WORDS or is_count or leaf.endswith(" more")


@given(TREES)
def test_what_is_small_is_shown_whole_to_whoever_may_see_it(value: object) -> None:
    shown = shortened(value)
    small = len(json.dumps(value)) < 16 and "[[[[" not in json.dumps(value)
    assert not small or shown == value


def test_however_large_a_value_is_what_is_shown_is_not() -> None:
    wide = {f"key{number}": list(range(1000)) for number in range(1000)}
    for show in (redacted, shortened):
        shown = show(wide)
        assert isinstance(shown, dict)
        assert len(shown) <= MAX_MEMBERS + 1
        assert len(list(leaves(shown))) <= MAX_PARTS + MAX_MEMBERS
        assert shown["…"] == f"{1000 - (len(shown) - 1)} more"
        assert len(shown["key0"]) == MAX_ELEMENTS + 1
    deep: object = "x"
    for _ in range(150):
        deep = [deep]
    assert len(json.dumps(redacted(deep))) < 100
    assert shortened("x" * 10_000) == "x" * 200 + "… (10000 characters)"
    assert len(next(iter(redacted({"k" * 5000: 1})))) < 100  # type: ignore[call-overload]  # it is an object
