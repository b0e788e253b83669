"""A stage's answer is taken apart without trust: exactly what a stage may say, or BadAnswer."""

from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.answer import (
    NOTHING,
    BadAnswer,
    StageAnswer,
    payload_after,
    read_answer,
    read_undo,
    state_after,
    state_after_error,
)
from pipelines.body import MAX_BODY_BYTES, MAX_DEPTH, Body
from pipelines.fields import fields_of
from pipelines.plan import Mode, OnError, StageState

BEFORE = Body.of({"name": "echo", "args": {"q": "x"}})
GRANT = fields_of({"granted": "bool", "reason?": "string"})

VIOLATION = {"code": "blocked", "reason": "a word"}


def read(answer: object) -> StageAnswer:
    return read_answer(json.dumps(answer).encode(), None)


def after(answer: object, before: Body = BEFORE) -> dict[str, object]:
    return dict(payload_after(read(answer), before).tree)


@pytest.mark.parametrize("raw", [b"{}", b"null"])
def test_nothing_said_is_an_allow(raw: bytes) -> None:
    assert read_answer(raw, None) is NOTHING
    assert not NOTHING.changes_payload()


def test_everything_that_may_be_said_is_read() -> None:
    violation = {
        **VIOLATION,
        "description": "d",
        "details": {"n": 1},
        "http_status": 429,
        "http_headers": {"X-A": "b"},
        "retry_after_ms": 5,
    }
    hints = {"http_headers": {"X-C": "d"}, "retry_after_ms": 7}
    said = read({"patch": {"a": 1}, "out": {"n": 1}, "state": {"s": 1}, "hints": hints, "violation": violation})
    assert said.out == {"n": 1}
    assert said.state == {"s": 1}
    assert msgspec.to_builtins(said.hints) == hints
    assert msgspec.to_builtins(said.violation) == violation
    assert said.changes_payload()


@pytest.mark.parametrize(
    "answer",
    [
        [],
        "allow",
        True,
        0,
        {"allow": True},
        {"Payload": {}},
        {"payload": {}, "patch": {}},
        {"out": []},
        {"out": "x"},
        {"state": 1},
        {"hints": []},
        {"hints": {"headers": {}}},
        {"hints": {"http_headers": {"a": 1}}},
        {"hints": {"retry_after_ms": "soon"}},
        {"hints": {"retry_after_ms": 1.5}},
        {"violation": {}},
        {"violation": True},
        {"violation": "no"},
        {"violation": {"code": "x"}},
        {"violation": {"reason": "x"}},
        {"violation": {"code": 1, "reason": "x"}},
        {"violation": {"code": "x", "reason": None}},
        {"violation": {**VIOLATION, "mood": "bad"}},
        {"violation": {**VIOLATION, "details": []}},
        {"violation": {**VIOLATION, "http_status": "403"}},
        {"violation": {**VIOLATION, "http_status": True}},
        {"violation": {**VIOLATION, "http_headers": {"a": None}}},
        {"violation": {**VIOLATION, "http_headers": {"a": "b\r\nset-cookie: c"}}},
        {"violation": {**VIOLATION, "http_headers": {"a": "b\n"}}},
        {"violation": {**VIOLATION, "http_headers": {"a: b\r\nc": "d"}}},
        {"violation": {**VIOLATION, "http_headers": {"a\n": "d"}}},
        {"violation": {**VIOLATION, "http_headers": {"": "d"}}},
        {"violation": {**VIOLATION, "http_status": 99}},
        {"violation": {**VIOLATION, "http_status": 600}},
        {"violation": {**VIOLATION, "retry_after_ms": -1}},
        {"violation": {**VIOLATION, "code": "penstock.timeout"}},
        {"violation": {**VIOLATION, "code": "penstock."}},
        {"result": {"granted": True}},
    ],
)
def test_anything_else_is_the_plugins_error(answer: object) -> None:
    with pytest.raises(BadAnswer) as caught:
        read(answer)
    assert str(caught.value)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"nul", b'{"out":{"a":NaN}}', b'{"out":{"a":1e400}}', b'{"out":{"a":"\xff"}}']
)
def test_what_is_no_json_is_the_plugins_error(raw: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_answer(raw, None)


def test_a_number_too_long_to_read_is_the_plugins_error() -> None:
    with pytest.raises(BadAnswer):
        read_answer(b'{"out":{"n":' + b"9" * 5000 + b"}}", None)


@pytest.mark.parametrize("member", ["out", "state", "result", "violation"])
def test_no_member_nests_deeper_than_a_payload_may(member: str) -> None:
    def raw(depth: int) -> bytes:
        deep = b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)
        if member == "violation":
            deep = b'{"code":"x","reason":"y","details":' + deep + b"}"
        return b'{"%b":%b}' % (member.encode(), deep)

    assert read_answer(raw(MAX_DEPTH), ())
    for depth in (MAX_DEPTH + 1, 600, 20_000):
        with pytest.raises(BadAnswer, match="deep"):
            read_answer(raw(depth), ())


@pytest.mark.parametrize(
    ("result", "good"),
    [
        ({"granted": True}, True),
        ({"granted": False, "reason": "x"}, True),
        ({"granted": True, "reason": None}, True),
        ({}, False),
        ({"granted": "false"}, False),
        ({"granted": 1}, False),
        ({"granted": None}, False),
        ({"granted": True, "grant": True}, False),
    ],
)
def test_a_result_fits_the_answer_of_its_hook(result: dict[str, object], *, good: bool) -> None:
    raw = json.dumps({"result": result}).encode()
    if good:
        assert read_answer(raw, GRANT).result == result
    else:
        with pytest.raises(BadAnswer):
            read_answer(raw, GRANT)
    assert read_answer(raw, ()).result == result


def test_a_payload_replaces_and_a_patch_changes() -> None:
    assert after({"payload": {"name": "other"}}) == {"name": "other"}
    assert after({"patch": {"args": {"q": None, "r": 1}}}) == {"name": "echo", "args": {"r": 1}}
    assert BEFORE.tree == {"name": "echo", "args": {"q": "x"}}


@pytest.mark.parametrize("member", ["payload", "patch"])
@pytest.mark.parametrize(
    "raw",
    [b"null", b"[]", b'"x"', b"1", b'{"a":1e400}', b'{"a":"\\ud800"}', b'{"a":"\xff"}', b'{"a":' + b"9" * 5000 + b"}"],
)
def test_a_changed_payload_is_checked_like_one_at_the_door(member: str, raw: bytes) -> None:
    with pytest.raises(BadAnswer):
        payload_after(read_answer(b'{"%b":%b}' % (member.encode(), raw), None), BEFORE)


@pytest.mark.parametrize("member", ["payload", "patch"])
def test_a_changed_payload_may_be_as_deep_as_one_at_the_door_and_travels_as_one_line(member: str) -> None:
    def raw(depth: int) -> bytes:
        return b'{"%b":%b}' % (member.encode(), b'{"a":\n' * (depth - 1) + b"{}" + b"}" * (depth - 1))

    assert b"\n" not in payload_after(read_answer(raw(MAX_DEPTH), None), BEFORE).raw
    with pytest.raises(BadAnswer):
        payload_after(read_answer(raw(MAX_DEPTH + 1), None), BEFORE)


def test_patches_cannot_make_a_payload_larger_than_one_at_the_door_may_be() -> None:
    half = "x" * (MAX_BODY_BYTES // 2)
    with pytest.raises(BadAnswer, match="limit"):
        after({"patch": {"b": half}}, Body.of({"a": half}))


KEYS = ["payload", "patch", "out", "state", "hints", "violation", "result", "code", "reason", "http_headers", "x"]
FRAGMENTS = st.sampled_from(
    ["{", "}", ":", ",", "null", "1", "1e400", "[", "]", '"', "\\ud800", " "] + [f'"{k}"' for k in KEYS]
)
ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.sampled_from(KEYS), below, max_size=4),
    max_leaves=10,
)


@given(
    st.binary(max_size=60)
    | st.lists(FRAGMENTS, max_size=16).map("".join).map(str.encode)
    | ANSWERS.map(json.dumps).map(str.encode)
)
@example(b'{"payload":' * 3000)
@example(b'{"patch":' + b"[" * 100_000)
def test_no_bytes_raise_anything_but_bad_answer(raw: bytes) -> None:
    with contextlib.suppress(BadAnswer):
        answer = read_answer(raw, GRANT)
        if answer.changes_payload():
            payload_after(answer, BEFORE)


def test_what_a_violation_does_is_the_modes_choice() -> None:
    denied = read({"violation": VIOLATION})
    assert state_after(denied, Mode.ENFORCE) is StageState.DENIED
    assert state_after(denied, Mode.PERMISSIVE) is StageState.SUCCEEDED
    assert state_after(denied, Mode.AUDIT) is StageState.SUCCEEDED
    assert all(state_after(NOTHING, mode) is StageState.SUCCEEDED for mode in Mode)


def test_what_an_error_does_is_on_errors_choice() -> None:
    assert state_after_error(OnError.FAIL) is StageState.FAILED
    assert state_after_error(OnError.CONTINUE) is StageState.SKIPPED


@pytest.mark.parametrize("raw", [b"{}", b"null", b'{"out":{"n":1}}', b'{"out":null}'])
def test_an_undo_answers_with_an_out_or_with_nothing(raw: bytes) -> None:
    assert read_undo(raw).out in (None, {"n": 1})


@pytest.mark.parametrize(
    "raw",
    [
        b'{"payload":{}}',
        b'{"patch":{},"out":{}}',
        b'{"state":{}}',
        b'{"hints":{}}',
        b'{"violation":{"code":"x","reason":"y"}}',
        b'{"result":{}}',
        b'{"undone":true}',
        b"[]",
    ],
)
def test_whatever_else_an_undo_answers_is_refused(raw: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_undo(raw)
