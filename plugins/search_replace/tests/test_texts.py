"""The walk: what counts as text, in which order, and what is left alone."""

from __future__ import annotations

import pytest
from changes import patched, renamed
from hypothesis import given
from hypothesis import strategies as st
from texts import FIELDS, Region, spelled, spots

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=25,
)


def merged(target: object, patch: object) -> object:
    """RFC 7396, section 2, as written there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def mapped(value: object, change) -> object:
    """The plain recursive twin of walk and patch."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    return value


def test_every_text_is_met_in_document_order() -> None:
    payload = {"name": "n", "args": {"a": "1", "b": ["2", {"c": "3"}, 4, None, True], "d": {}}}
    found = [(spelled(spot.path), spot.value) for spot in spots(payload, FIELDS["tool_pre_invoke"])]
    assert found == [("args.a", "1"), ("args.b[0]", "2"), ("args.b[1].c", "3")]


def test_keys_and_numbers_are_met_only_when_asked_for() -> None:
    payload = {"args": {"k": 7, "t": True}}
    assert list(spots(payload, ("args",))) == []
    assert [spot.value for spot in spots(payload, ("args",), numbers=True)] == [7]
    assert [(spot.value, spot.is_key) for spot in spots(payload, ("args",), keys=True)] == [("k", True), ("t", True)]


def test_an_item_of_an_array_goes_by_the_name_of_the_array() -> None:
    [spot] = spots({"args": {"phones": [["x"]]}}, ("args",))
    assert spot.name == "phones"


def test_a_picture_in_base64_is_no_text() -> None:
    picture = {"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo" * 12}
    payload = {"result": {"content": [picture, {"type": "text", "text": "hello"}]}}
    assert [spot.value for spot in spots(payload, FIELDS["tool_post_invoke"])] == ["hello"]


@pytest.mark.parametrize(
    "member",
    [
        {"type": "a hidden word"},
        {"role": "a hidden word"},
        {"mimeType": "a hidden word"},
        {"mimeType": "image/png", "data": "a hidden word"},
        {"blob": "word"},
    ],
)
def test_words_cannot_be_hidden_in_members_that_mcp_reserves(member: dict[str, str]) -> None:
    assert any("word" in spot.value for spot in spots({"args": member}, ("args",)))


def test_credentials_among_the_headers_are_left_alone() -> None:
    headers = {"Authorization": "Bearer x", "cookie": "s=1", "x-note": "hi"}
    assert [spot.value for spot in spots({"headers": headers}, FIELDS["http_pre_request"])] == ["hi"]


def test_a_region_limits_the_walk() -> None:
    region = Region.of(["args.items.*.note"], ["args.items.1"], FIELDS)
    payload = {"args": {"note": "no", "items": [{"note": "yes", "id": "no"}, {"note": "no"}]}}
    assert [spot.value for spot in spots(payload, ("args",), region)] == ["yes"]


def test_a_region_that_can_match_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fields\[0\]: 'arguments.q' must begin with one of args"):
        Region.of(["arguments.q"], [], FIELDS)


def test_depth_costs_no_stack() -> None:
    value: object = "deep"
    for _ in range(5_000):
        value = [value]
    [spot] = spots({"args": value}, ("args",))
    assert len(spot.path) == 5_001


@given(JSON)
def test_the_patch_of_a_walk_equals_a_plain_rewrite(value: object) -> None:
    """Structure, keys and everything that is no text stay as they are."""
    payload = {"name": "n", "args": value, "other": {"kept": None}}
    changes = [(spot.path, spot.value + "!") for spot in spots(payload, ("args",))]
    expected = {**payload, "args": mapped(value, lambda text: text + "!")}
    # A merge patch that writes nothing writes no member either.
    assert merged(payload, patched(payload, changes)) == expected
    assert renamed(payload, changes, []) == expected


@given(JSON)
def test_renaming_keeps_every_value(value: object) -> None:
    payload = {"args": value}
    names = [(spot.path, spot.value + "!") for spot in spots(payload, ("args",), keys=True) if spot.is_key]
    assert renamed(payload, [], names) == {"args": mapped_keys(value)}


def mapped_keys(value: object) -> object:
    """Rename every key, change no text."""
    if isinstance(value, list):
        return [mapped_keys(item) for item in value]
    if isinstance(value, dict):
        return {key + "!": mapped_keys(item) for key, item in value.items()}
    return value


def test_two_names_that_become_one_are_told_apart() -> None:
    payload = {"args": {"a@x": 1, "b@x": 2}}
    assert renamed(payload, [], [(("args", "a@x"), "[e]"), (("args", "b@x"), "[e]")]) == {
        "args": {"[e]": 1, "[e] 2": 2}
    }


def test_a_patch_leaves_the_payload_as_it_was() -> None:
    payload = {"args": {"list": [{"t": "x"}, {"t": "y"}]}}
    patch = patched(payload, [(("args", "list", 1, "t"), "z")])
    assert patch == {"args": {"list": [{"t": "x"}, {"t": "z"}]}}
    assert payload == {"args": {"list": [{"t": "x"}, {"t": "y"}]}}


def test_a_long_path_is_cut() -> None:
    assert len(spelled(("args", "k" * 500))) == 200
