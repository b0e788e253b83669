"""Frames to messages and back: what is exactly JSON-RPC is understood, anything else is Malformed and nothing else."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.protocol import messages
from isolation.protocol.messages import Answer, Fault, Invocation, Malformed, Notification, Request, parse

HEAD = b'{"jsonrpc":"2.0",'


def answer(frame: bytes) -> Answer:
    message = parse(frame)
    assert isinstance(message, Answer)
    return message


# What is understood.


@pytest.mark.parametrize("result", [b"{}", b"null", b"0", b'""', b"[1, 2]", b'{"a":{"b":[1.5e3,"\\u00e9"]}}', b"false"])
def test_a_result_stays_as_it_came(result: bytes) -> None:
    message = answer(HEAD + b'"id":7,"result":' + result + b"}")
    assert (message.id, bytes(message.result)) == (7, result)
    assert not isinstance(message.error, Fault)


def test_members_may_come_in_any_order_and_with_spaces() -> None:
    message = answer(b' { "result" : {} ,\t"id" : 3 , "jsonrpc" : "2.0" } \r')
    assert (message.id, bytes(message.result)) == (3, b"{}")


def test_an_error_is_taken_apart() -> None:
    message = answer(HEAD + b'"id":7,"error":{"code":-32804,"message":"no","data":{"type":"ValueError"}}}')
    assert message.error == Fault(-32804, "no", {"type": "ValueError"})
    assert bytes(message.result) == b""


def test_the_data_of_an_error_may_be_absent() -> None:
    assert answer(HEAD + b'"id":1,"error":{"code":1,"message":"no"}}').error == Fault(1, "no", None)


@pytest.mark.parametrize("params", [b'{"message":"hi"}', b"[]", b""])
def test_a_message_without_an_id_is_a_notification(params: bytes) -> None:
    member = b',"params":' + params if params else b""
    assert parse(HEAD + b'"method":"log"' + member + b"}") == Notification("log", params)


@pytest.mark.parametrize("number", [b"1", b'"a\\u0062"', b"-3", b'""'])
def test_a_request_keeps_its_id_as_it_came(number: bytes) -> None:
    assert parse(HEAD + b'"id":' + number + b',"method":"sampling/create","params":{}}') == Request(
        "sampling/create", number
    )


# What is not.

SHAPES = {
    "nothing": (b"", "not a JSON message"),
    "a space": (b" ", "not a JSON message"),
    "no JSON": (b"hello", "not a JSON message"),
    "half of a message": (HEAD + b'"id":1,"result":{', "not a JSON message"),
    "two messages": (HEAD + b'"id":1,"result":{}}{}', "not a JSON message"),
    "a byte order mark": (b"\xef\xbb\xbf" + HEAD + b'"id":1,"result":{}}', "not a JSON message"),
    "a number": (b"7", "not a JSON-RPC message"),
    "null": (b"null", "not a JSON-RPC message"),
    "a batch": (b"[" + HEAD + b'"id":1,"result":{}}]', "not a JSON-RPC message"),
    "an empty object": (b"{}", "not a JSON-RPC message"),
    "no version": (b'{"id":1,"result":{}}', "not a JSON-RPC message"),
    "version 1.0": (b'{"jsonrpc":"1.0","id":1,"result":{}}', 'no "jsonrpc": "2.0"'),
    "version 2.0 as a number": (b'{"jsonrpc":2.0,"id":1,"result":{}}', "not a JSON-RPC message"),
    "version 1.0 of a notification": (b'{"jsonrpc":"1.0","method":"log"}', 'no "jsonrpc": "2.0"'),
    "only a version": (b'{"jsonrpc":"2.0"}', "neither a method nor an id"),
    "a result without an id": (HEAD + b'"result":{}}', "neither a method nor an id"),
    "neither result nor error": (HEAD + b'"id":1}', "exactly one of result and error"),
    "both result and error": (
        HEAD + b'"id":1,"result":{},"error":{"code":1,"message":"x"}}',
        "exactly one of result and error",
    ),
    "a result and a null error": (HEAD + b'"id":1,"result":{},"error":null}', "exactly one of result and error"),
    "a null error": (HEAD + b'"id":1,"error":null}', "the error of an answer is an object"),
    "an error that is text": (HEAD + b'"id":1,"error":"no"}', "the error of an answer is an object"),
    "an error without a message": (HEAD + b'"id":1,"error":{"code":1}}', "the error of an answer is an object"),
    "an error with a textual code": (
        HEAD + b'"id":1,"error":{"code":"1","message":"x"}}',
        "the error of an answer is an object",
    ),
    "an error with more members": (
        HEAD + b'"id":1,"error":{"code":1,"message":"x","stack":"y"}}',
        "the error of an answer is an object",
    ),
    "an unknown member": (HEAD + b'"id":1,"result":{},"more":1}', "not a JSON-RPC message"),
    "a method and a result": (HEAD + b'"method":"log","result":{}}', "either a method or a result"),
    "a method and an error": (HEAD + b'"id":1,"method":"log","error":null}', "either a method or a result"),
    "a method that is no text": (HEAD + b'"method":7}', "not a JSON-RPC message"),
    "NaN": (HEAD + b'"id":1,"result":NaN}', "not a JSON message"),
    "Infinity": (HEAD + b'"id":1,"result":{"a":-Infinity}}', "not a JSON message"),
    "invalid UTF-8 in a member": (HEAD + b'"id":1,"\xff":{}}', "not a JSON message"),
    "invalid UTF-8 in an error": (HEAD + b'"id":1,"error":{"code":1,"message":"\xc3\x28"}}', "not a JSON message"),
    "a lone surrogate in an error": (HEAD + b'"id":1,"error":{"code":1,"message":"\\ud800"}}', "not a JSON message"),
    "a deep result": (HEAD + b'"id":1,"result":' + b"[" * 99_999 + b"]" * 99_999 + b"}", "not a JSON message"),
    "a deep id": (HEAD + b'"method":"x","id":' + b"[" * 99_999 + b"]" * 99_999 + b"}", "not a JSON"),
    "an endless nesting": (b"[" * 1_000_000, "not a JSON"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_anything_else_is_malformed_and_says_why(shape: str) -> None:
    frame, why = SHAPES[shape]
    with pytest.raises(Malformed) as raised:
        parse(frame)
    assert why in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("number", [b"1.0", b"1e0", b"true", b'"1"', b"null", b"[1]", b"{}"])
def test_an_id_that_only_equals_ours_is_not_ours(number: bytes) -> None:
    """In Python 1, 1.0 and True are equal."""
    for end in (b'"result":{}}', b'"error":{"code":1,"message":"x"}}'):
        with pytest.raises(Malformed, match="the id of an answer is the integer that we sent"):
            parse(HEAD + b'"id":' + number + b"," + end)


@pytest.mark.parametrize("number", [b"1.0", b"true", b"null", b"[1]", b"{}"])
def test_the_id_of_a_request_is_an_integer_or_a_string(number: bytes) -> None:
    with pytest.raises(Malformed, match="the id of a request is an integer or a string"):
        parse(HEAD + b'"id":' + number + b',"method":"x"}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
near_messages = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0", 2]),
        "id": json_values,
        "method": json_values,
        "params": json_values,
        "result": json_values,
        "error": json_values | st.fixed_dictionaries({"code": st.integers(), "message": st.text(max_size=5)}),
    },
).map(lambda message: json.dumps(message).encode())


@given(st.binary(max_size=60) | near_messages)
def test_no_bytes_raise_anything_but_malformed(frame: bytes) -> None:
    with suppress(Malformed):
        parse(frame)


@given(near_messages, st.data())
def test_no_damage_to_a_message_raises_anything_but_malformed(frame: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(frame)))
    end = data.draw(st.integers(start, len(frame)))
    with suppress(Malformed):
        parse(frame[:start] + data.draw(st.binary(max_size=4)) + frame[end:])


# What we write.

objects = st.dictionaries(st.text(max_size=8), json_values, max_size=4)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def written(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()


@given(texts, texts, texts, st.integers(1, 10**9), objects, objects, objects)
def test_the_payload_of_an_invocation_can_be_sliced_off(
    stage: str,
    hook: str,
    config: str,
    number: int,
    values: dict[str, object],
    context: dict[str, object],
    payload: dict[str, object],
) -> None:
    """A reader may trust `bytes`, which it finds before anything that is not the host's."""
    call = Invocation(
        static=messages.envelope(stage, hook, config),
        run=b"01J",
        key=b"01J/mask",
        input=written(values),
        context=written(context),
        payload=written(payload),
        attempt=2,
    )
    frame = messages.invoke_frame(number, call, 180)
    assert frame.count(b"\n") == 1 and frame.endswith(b"\n")
    line = frame[:-1]
    prefix = b'{"jsonrpc":"2.0","id":%d,"method":"stage/invoke","params":{"bytes":' % number
    assert line.startswith(prefix)
    length = int(line[len(prefix) :].split(b",", 1)[0])
    assert line[-(length + 2) : -2] == call.payload
    params = json.loads(line)["params"]
    names = list(params)
    assert (names[0], names[-1]) == ("bytes", "payload")
    assert (params["stage"], params["hook"], params["config"]) == (stage, hook, config)
    assert (params["attempt"], params["deadline_ms"], params["trace"]) == (2, 180, None)
    assert (params["run"], params["key"]) == ("01J", "01J/mask")


@given(objects, objects)
def test_a_call_that_undoes_another_differs_in_its_method_and_in_what_it_undoes(
    values: dict[str, object], payload: dict[str, object]
) -> None:
    call = Invocation(
        static=messages.envelope("release", "tool_pre_invoke", "c1"),
        run=b"01J",
        key=b"01J/reserve/undo",
        input=written(values),
        context=b"{}",
        payload=written(payload),
    )
    invoke = json.loads(messages.invoke_frame(7, call, 180), parse_constant=str)
    call.undoes = b"01J/reserve"
    line = messages.invoke_frame(7, call, 180)
    compensate = json.loads(line, parse_constant=str)
    assert line.count(b"\n") == 1 and line.endswith(call.payload + b"}}\n")
    names = list(compensate["params"])
    assert (names[0], names[-1]) == ("bytes", "payload")
    assert compensate.pop("method") == "stage/compensate" and invoke.pop("method") == "stage/invoke"
    assert compensate["params"].pop("undoes") == "01J/reserve"
    assert compensate == invoke


@given(texts, objects)
def test_requests_and_notifications_are_one_line_each(method: str, params: dict[str, object]) -> None:
    plain = json.loads(written(params), parse_constant=lambda _: None)
    for frame in (messages.request_frame(1, method, plain), messages.notification_frame(method, plain)):
        assert frame.count(b"\n") == 1 and frame.endswith(b"\n")
        message = json.loads(frame)
        assert (message["method"], message["jsonrpc"]) == (method, "2.0")
        assert message.get("id", 1) == 1


@given(texts, st.integers() | texts)
def test_a_refusal_repeats_the_id_of_the_request(method: str, number: int | str) -> None:
    request = parse(json.dumps({"jsonrpc": "2.0", "id": number, "method": method}).encode())
    assert isinstance(request, Request)
    refusal = json.loads(messages.error_frame(request.id, messages.METHOD_NOT_FOUND, f"no {method!r}"))
    assert refusal["id"] == number and type(refusal["id"]) is type(number)
    assert refusal["error"] == {"code": -32601, "message": f"no {method!r}"}
