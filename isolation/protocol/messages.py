"""Frames to messages and back: JSON-RPC 2.0 as penstock speaks it, version 1.0.

Incoming frames are untrusted: anything that is not exactly an answer, a notification or a request
is `Malformed`. Parameters and results stay raw bytes for whoever knows what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

__all__ = [
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "FRAME_TOO_LARGE",
    "METHOD_NOT_FOUND",
    "PLUGIN_BUSY",
    "PLUGIN_ERROR",
    "PROTOCOL_VERSION",
    "RETRYABLE",
    "Answer",
    "Fault",
    "Invocation",
    "Malformed",
    "Notification",
    "Request",
    "envelope",
    "error_frame",
    "invoke_frame",
    "notification_frame",
    "parse",
    "request_frame",
]

PROTOCOL_VERSION = "1.0"

METHOD_NOT_FOUND = -32601
CANCELLED = -32800
RETRYABLE = -32801
PLUGIN_BUSY = -32802
DEADLINE_EXCEEDED = -32803
PLUGIN_ERROR = -32804
FRAME_TOO_LARGE = -32805

_EMPTY = msgspec.Raw()


class Malformed(Exception):
    """The frame is no JSON-RPC 2.0 message that a plugin may send. The message says why."""


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """The `error` member of an answer."""

    code: int
    message: str
    data: object = None


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """An answer to one of our requests: exactly one of `result` and `error` is there."""

    jsonrpc: str
    id: int
    result: msgspec.Raw = _EMPTY
    error: Fault | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Notification:
    """A message that wants no answer. `params` is raw JSON."""

    method: str
    params: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the plugin to the host, which refuses it. `id` is raw JSON."""

    method: str
    id: bytes


class _Any(msgspec.Struct, forbid_unknown_fields=True):
    jsonrpc: str
    id: msgspec.Raw = _EMPTY
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw = _EMPTY
    result: msgspec.Raw = _EMPTY
    error: msgspec.Raw = _EMPTY


_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_any = msgspec.json.Decoder(_Any).decode
_decode_id = msgspec.json.Decoder(int | str).decode
_encode = msgspec.json.Encoder().encode


def parse(frame: bytes) -> Answer | Notification | Request:
    """Take one frame apart; raises Malformed and nothing else."""
    try:
        answer = _decode_answer(frame)
    except msgspec.ValidationError:
        return _parse_other(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not a JSON message: {error}") from error
    if answer.jsonrpc != "2.0":
        raise Malformed('no "jsonrpc": "2.0"')
    if (answer.error is msgspec.UNSET) == (not bytes(answer.result)):
        raise Malformed("an answer has exactly one of result and error")
    return answer


def _parse_other(frame: bytes) -> Notification | Request:
    try:
        message = _decode_any(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not a JSON-RPC message: {error}") from error
    if message.jsonrpc != "2.0":
        raise Malformed('no "jsonrpc": "2.0"')
    if message.method is msgspec.UNSET:
        raise Malformed(_why_no_answer(message))
    if bytes(message.result) or bytes(message.error):
        raise Malformed("a message has either a method or a result")
    if not bytes(message.id):
        return Notification(message.method, bytes(message.params))
    try:
        _decode_id(message.id)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed("the id of a request is an integer or a string") from error
    return Request(message.method, bytes(message.id))


def _why_no_answer(message: _Any) -> str:
    if not bytes(message.id):
        return "neither a method nor an id"
    if bool(bytes(message.result)) == bool(bytes(message.error)):
        return "an answer has exactly one of result and error"
    if not bytes(message.id).lstrip(b"-").isdigit():
        return f"the id of an answer is the integer that we sent, not {bytes(message.id)[:40]!r}"
    return "the error of an answer is an object with an integer code and a message"


class Invocation(msgspec.Struct):
    """One call of a stage before it is written. All but `attempt` is JSON, encoded once by whoever owns it.

    `static` comes from `envelope`; `run`, `key` and `undoes` are the insides of JSON strings. With `undoes`, the key of
    another invocation, it is written as a `stage/compensate`.
    """

    static: bytes
    run: bytes
    key: bytes
    input: bytes
    context: bytes
    payload: bytes
    attempt: int = 1
    trace: bytes = b"null"
    undoes: bytes = b""


def envelope(stage: str, hook: str, config: str) -> bytes:
    """Encode the part of an invocation that does not change from call to call."""
    return b'"stage":%b,"hook":%b,"config":%b,' % (_encode(stage), _encode(hook), _encode(config))


def invoke_frame(number: int, call: Invocation, deadline_ms: int) -> bytes:
    """Write a `stage/invoke`, or a `stage/compensate` where the call undoes another.

    `bytes` comes first and `payload` last, so that a reader may slice the payload off unparsed.
    """
    if call.undoes:
        return _compensate_frame(number, call, deadline_ms)
    return (
        b'{"jsonrpc":"2.0","id":%d,"method":"stage/invoke","params":{"bytes":%d,%b"run":"%b","attempt":%d,"key":"%b",'
        b'"deadline_ms":%d,"trace":%b,"input":%b,"context":%b,"payload":%b}}\n'
        % (
            number,
            len(call.payload),
            call.static,
            call.run,
            call.attempt,
            call.key,
            deadline_ms,
            call.trace,
            call.input,
            call.context,
            call.payload,
        )
    )


def _compensate_frame(number: int, call: Invocation, deadline_ms: int) -> bytes:
    return (
        b'{"jsonrpc":"2.0","id":%d,"method":"stage/compensate","params":{"bytes":%d,%b"run":"%b","attempt":%d,'
        b'"key":"%b","undoes":"%b","deadline_ms":%d,"trace":%b,"input":%b,"context":%b,"payload":%b}}\n'
        % (
            number,
            len(call.payload),
            call.static,
            call.run,
            call.attempt,
            call.key,
            call.undoes,
            deadline_ms,
            call.trace,
            call.input,
            call.context,
            call.payload,
        )
    )


def request_frame(number: int, method: str, params: Mapping[str, object]) -> bytes:
    """Write any other request."""
    return b'{"jsonrpc":"2.0","id":%d,"method":%b,"params":%b}\n' % (number, _encode(method), _encode(params))


def notification_frame(method: str, params: Mapping[str, object]) -> bytes:
    """Write a message that wants no answer."""
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}\n' % (_encode(method), _encode(params))


def error_frame(request_id: bytes, code: int, message: str) -> bytes:
    """Write the refusal of a plugin's request; `request_id` is raw JSON as it came."""
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}\n' % (request_id, _encode({"code": code, "message": message}))
