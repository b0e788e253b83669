"""One input line as a call: what is taken, and what is said of everything else."""

from __future__ import annotations

import pytest

from orchestrator.cli.calls import MalformedLine, read_call

HOOKS = ["tool_pre_invoke", "tool_post_invoke"]


def test_a_line_gives_its_payload_and_context_untouched() -> None:
    """The door judges them, so not a byte may change on the way."""
    call = read_call(b' {"hook": "tool_pre_invoke", "payload": {"a":1e400}, "context": { }}', HOOKS)
    assert (call.hook, call.payload, call.context) == ("tool_pre_invoke", b'{"a":1e400}', b"{ }")


def test_a_context_may_be_left_out() -> None:
    assert read_call(b'{"hook":"tool_pre_invoke","payload":{}}', HOOKS).context is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"garbage", "not JSON: invalid character (byte 0)"),
        (b'{"hook": "tool_pre_invoke"', "not JSON: Input data was truncated"),
        (b'{"hook": "tool_pre_invoke", "payload": {}} more', "not JSON: trailing characters (byte 44)"),
        (b"[1]", "a call is a JSON object, not a list"),
        (b"7", "a call is a JSON object, not a number"),
        (b'{"payload": {}}', "key 'hook' is missing"),
        (b'{"hook": "tool_pre_invoke"}', "key 'payload' is missing"),
        (b'{"hook": "tool_pre_invoke", "paylod": {}}', "unknown key 'paylod'; did you mean 'payload'?"),
        (
            b'{"hook": "tool_pre_invok", "payload": {}}',
            "unknown hook 'tool_pre_invok'; did you mean 'tool_pre_invoke'?",
        ),
        (b'{"hook": "x", "payload": {}}', "unknown hook 'x'"),
        (b'{"hook": 7, "payload": {}}', "hook must be a string, not a number"),
        (b'{"hook": "tool_pre_invoke", "payload": [1]}', "payload must be an object, not a list"),
        (b'{"hook": "tool_pre_invoke", "payload": {}, "context": null}', "context must be an object, not null"),
        (b'{"hook": "\xff", "payload": {}}', "not UTF-8"),
        (b'{"hook": "tool_pre_invoke", "payload":' + b'{"a":' * 200_000, "nested too deeply"),
        (None, "longer than 64 MiB"),
    ],
)
def test_whatever_is_no_call_is_refused_with_a_reason(line: bytes | None, said: str) -> None:
    with pytest.raises(MalformedLine) as refusal:
        read_call(line, HOOKS)
    assert str(refusal.value) == said
