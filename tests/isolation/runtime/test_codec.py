"""Every codec reads and writes the same JSON, and refuses the same."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from started import compensation, invocation

from isolation.runtime.penstock_plugin.serving.codec import Codec, best_codec

CODECS = [Codec(), best_codec()]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


def test_msgspec_is_used_where_it_is_installed() -> None:
    assert [codec.name for codec in CODECS] == ["json", "msgspec"]


@each_codec
@given(value=VALUES)
def test_what_is_written_reads_back_as_it_was(codec: Codec, value: object) -> None:
    encoded = codec.encode(value)
    assert b"\n" not in encoded
    assert codec.decode(encoded) == value == json.loads(encoded)


@each_codec
@given(payload=st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_call_is_cut_exactly(codec: Codec, payload: dict[str, object]) -> None:
    line = invocation(7, "mask", payload, context={"tenant": "payload"}, input={"n": [1]})[:-1]
    found = codec.invocation(line)
    assert found is not None
    number, parameters, raw = found
    assert (number, parameters.stage, parameters.run, parameters.deadline_ms) == (7, "mask", "R7", 5000)
    assert codec.decode(parameters.context) == {"tenant": "payload"}
    assert codec.decode(raw) == payload


@each_codec
@given(payload=st.dictionaries(st.text(), VALUES, max_size=4))
def test_an_undo_is_cut_as_a_call_is(codec: Codec, payload: dict[str, object]) -> None:
    found = codec.invocation(compensation(7, "release", "R1/mask", payload)[:-1])
    assert found is not None
    assert (found[0], found[1].stage, found[1].undoes, codec.decode(found[2])) == (7, "release", "R1/mask", payload)


@each_codec
def test_a_large_payload_is_not_copied(codec: Codec) -> None:
    found = codec.invocation(invocation(7, "mask", {"q": "x" * 100_000})[:-1])
    assert found is not None
    assert isinstance(found[2], memoryview)
    assert codec.decode(found[2]) == {"q": "x" * 100_000}


@each_codec
@pytest.mark.parametrize("line", [
    b"", b"{}", b"not json",
    b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{}}',
    b'{"jsonrpc":"2.0","id":7,"method":"stage/invoke","params":{"bytes":2,"stage":"x","payload":{}}}',
    b'{"jsonrpc":"2.0","id":7,"method":"stage/invoke","params":{"bytes":999999,"stage":"x","payload":{}}}',
    b'{"jsonrpc":"2.0","id":7,"method":"stage/invoke","params":{"bytes":3,"stage":"x","payload":{}}}',
    b'{"jsonrpc":"2.0","id":7,"method":"stage/invoke","params":{"bytes":2,"stage":7,"hook":"h","config":"c","payload":{}}}',
    compensation(7, "release", "")[:-1],
    compensation(7, "release", "R1/mask").replace(b"compensate", b"invoke")[:-1],
    invocation(7, "release").replace(b"invoke", b"compensate")[:-1],
])  # fmt: skip
def test_a_line_that_does_not_fit_is_left_to_the_ordinary_parser(codec: Codec, line: bytes) -> None:
    assert codec.invocation(line) is None


@each_codec
@pytest.mark.parametrize(
    "value", [float("nan"), {"x": [float("inf")]}, "\ud800", {"a": {"\udfff": 1}}, object(), {1, object()}]
)
def test_what_json_has_no_word_for_is_refused(codec: Codec, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        codec.encode({"out": value})


@each_codec
@pytest.mark.parametrize("data", [b"", b"{", b'{"a":NaN}', b'"\xff"', b"[" * 100_000, b"{} {}"])
def test_what_is_no_json_is_a_value_error(codec: Codec, data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each codec has its own words
        codec.decode(data)


def test_a_broken_msgspec_is_done_without() -> None:
    """An ancient or broken release in the plugin's environment costs speed, not the plugin."""
    real = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("msgspec", "orjson")}
    try:
        for name in (*real, "msgspec", "orjson"):
            sys.modules[name] = ModuleType(name)
        assert best_codec().name == "json"
    finally:
        del sys.modules["orjson"]
        sys.modules.update(real)
