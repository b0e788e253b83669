"""What passes the door is strict JSON in our own writing; everything else is refused with a reason."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.body import MAX_BODY_BYTES, MAX_DEPTH, Body, Unacceptable, accept, deeper_than
from pipelines.merge import same

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3), max_leaves=12
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)


def nested(depth: int, opening: str = '{"a":', closing: str = "}") -> bytes:
    """An object of `depth` levels."""
    return (opening * (depth - 1) + "{}" + closing * (depth - 1)).encode()


def strict(data: bytes) -> object:
    """What the standard library makes of the bytes, with its own leniencies taken out; raises ValueError."""

    def refuse(text: str) -> object:
        raise ValueError(text)

    def finite(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(text)
        return number

    tree = json.loads(data.decode("utf-8"), parse_constant=refuse, parse_float=finite)
    json.dumps(tree, ensure_ascii=False).encode("utf-8")
    return tree


@given(OBJECTS)
def test_an_object_is_accepted_with_its_meaning(tree: dict[str, object]) -> None:
    try:
        data = json.dumps(tree, ensure_ascii=False, indent=1).encode()
    except UnicodeEncodeError:
        return
    body = accept(data)
    assert same(body.tree, tree)
    assert same(json.loads(body.raw), tree)
    assert b"\n" not in body.raw
    assert b"\r" not in body.raw
    assert accept(body.raw).raw == body.raw


@given(OBJECTS)
def test_an_object_from_this_program_is_taken_like_its_bytes(tree: dict[str, object]) -> None:
    try:
        data = json.dumps(tree, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        with pytest.raises(Unacceptable):
            accept(tree)
    else:
        assert accept(tree).raw == accept(data).raw


FRAGMENTS = st.sampled_from([*'{}[]:,"\\a1-e. \n\0ä', '"a"', "null", "true", "NaN", "1e400", "\\ud800", "\\u0000"])


@given(st.lists(FRAGMENTS, max_size=14).map("".join).map(str.encode) | st.binary(max_size=40))
@example(b'{"a":1,"a":2}')
@example(b'{"a":-0}')
@example(b'{"a":1E5}')
def test_any_bytes_are_accepted_as_the_standard_library_reads_them_or_refused(data: bytes) -> None:
    try:
        body = accept(data)
    except Unacceptable:
        with pytest.raises((ValueError, AssertionError)):
            assert isinstance(strict(data), dict)
    else:
        assert same(body.tree, strict(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b"{} {}",
        b"{}x",
        b'{"a":1e400}',
        b'{"a":-1e400}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":01}',
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":"\\ud800"}',
        b'{"\\udc00":1}',
        b'{"a":"\xff"}',
        b'{"\xc0\x80":1}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"line\nbreak"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":' + b"9" * 5000 + b"}",
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_what_is_no_strict_json_object_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(Unacceptable) as caught:
        accept(data)
    assert str(caught.value)


@pytest.mark.parametrize("data", [b'{"a":"\\ud800"}', b'{"a":"\\uDFFF"}'])
def test_half_a_surrogate_pair_is_named(data: bytes) -> None:
    with pytest.raises(Unacceptable, match="surrogate"):
        accept(data)


class Odd:
    """No JSON value."""


@pytest.mark.parametrize(
    "tree",
    [
        {"a": math.nan},
        {"a": math.inf},
        {"a": Odd()},
        {"a": b"bytes"},
        {"a": {1, 2}},
        {"a": "\ud800"},
        {("a",): 1},
        {"a": 10**5000},
    ],
)
def test_a_value_of_this_program_that_is_no_json_is_refused(tree: Mapping[str, object]) -> None:
    with pytest.raises(Unacceptable):
        accept(tree)


def test_an_object_that_holds_itself_is_refused() -> None:
    tree: dict[str, object] = {}
    tree["a"] = tree
    with pytest.raises(Unacceptable):
        accept(tree)


def test_of_a_key_that_is_there_twice_the_last_counts_and_travels() -> None:
    body = accept(b'{"a":{"x":1},"b":0,"a":{"y":2}}')
    assert json.loads(body.raw, object_pairs_hook=list) == [("a", [("y", 2)]), ("b", 0)]


def test_line_breaks_and_blanks_between_values_do_not_travel() -> None:
    assert accept(b'{\r\n\t"a" :\n[ 1 ,\n2 ] }').raw == b'{"a":[1,2]}'
    assert accept(b'{"a":"\\n\\u2028"}').raw == '{"a":"\\n\u2028"}'.encode()


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ('{"a\\"[":', "}")])
def test_the_deepest_nesting_is_accepted_and_one_level_more_is_not(opening: str, closing: str) -> None:
    assert accept(nested(MAX_DEPTH, opening, closing)).tree
    for depth in (MAX_DEPTH + 1, 900, 5000, 100_000):
        with pytest.raises(Unacceptable, match="nested deeper"):
            accept(nested(depth, opening, closing))


def test_lists_count_as_levels_too() -> None:
    assert accept(b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}")
    with pytest.raises(Unacceptable, match="nested deeper"):
        accept(b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}")
    tree: dict[str, object] = {}
    for _ in range(5000):
        tree = {"a": tree}
    with pytest.raises(Unacceptable, match="nested deeper"):
        accept(tree)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


BRACKETS = st.text(alphabet='[]{}"\\:,a', max_size=5)
TREES = st.recursive(
    BRACKETS, lambda below: st.lists(below, max_size=3) | st.dictionaries(BRACKETS, below, max_size=3), max_leaves=15
)


@given(st.dictionaries(BRACKETS, TREES, max_size=3), st.integers(0, 6))
def test_depth_is_counted_in_levels_whatever_stands_in_texts(tree: dict[str, object], limit: int) -> None:
    raw = json.dumps(tree, separators=(",", ":")).encode()
    assert deeper_than(limit, raw) == (depth_of(tree) > limit)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    wide = b'{"a":[' + b",".join([b"{}"] * 5000) + b"]}"
    assert accept(wide).raw == wide
    inside = json.dumps({"a": "[" * 5000 + '"' + "\\" * 3}, separators=(",", ":")).encode()
    assert accept(inside).raw == inside


def test_size_is_limited_before_and_after_it_is_written_out() -> None:
    data = b'{"a":"' + b"x" * (MAX_BODY_BYTES - 8) + b'"}'
    assert len(data) == MAX_BODY_BYTES
    assert accept(data).raw == data
    with pytest.raises(Unacceptable, match="limit"):
        accept(data.replace(b"x", b"xx", 1))
    with pytest.raises(Unacceptable, match="limit"):
        accept(b'{"a":[' + b",".join([b"1e15"] * 100) + b"]}", limit=1000)


def test_a_million_keys_are_read() -> None:
    keys = 1_000_000
    data = b"{" + b",".join(b'"%d":0' % key for key in range(keys)) + b"}"
    assert len(accept(data, limit=len(data)).tree) == keys


def test_a_body_is_decoded_when_somebody_looks_and_encoded_when_it_is_made() -> None:
    assert Body(b'{"a":1}').tree == {"a": 1}
    assert Body.of({"a": [1, 2.5, None]}).raw == b'{"a":[1,2.5,null]}'
