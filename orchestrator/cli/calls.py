"""One input line of `penstock run` as a call. What is inside the payload is the door's to judge, not ours."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from orchestrator.cli.lines import MAX_LINE_BYTES
from pipelines.suggest import nearest

__all__ = ["Call", "MalformedLine", "read_call"]

_KEYS = ("hook", "payload", "context", "idempotency_key")
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class MalformedLine(Exception):
    """A line that is no call; the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """What the gateway would have asked. Payload and context are JSON text, not yet judged."""

    hook: str
    payload: bytes
    context: bytes | None
    key: str | None = None


def read_call(text: bytes | None, hooks: Collection[str]) -> Call:
    """Take a line apart. Raise MalformedLine when it has not the shape or names a hook that does not exist."""
    if text is None:
        raise MalformedLine(f"longer than {MAX_LINE_BYTES // 2**20} MiB")
    members = _members(text)
    for key in members:
        if key not in _KEYS:
            raise MalformedLine(f"unknown key {key!r}{_meant(nearest(key, list(_KEYS)))}")
    for key in ("hook", "payload"):
        if key not in members:
            raise MalformedLine(f"key {key!r} is missing")
    hook = _text(members["hook"])
    if hook is None:
        raise MalformedLine(f"hook must be a string, not {_kind(members['hook'])}")
    if hook not in hooks:
        raise MalformedLine(f"unknown hook {hook!r}{_meant(nearest(hook, list(hooks)))}")
    for key in ("payload", "context"):
        if key in members and _kind(members[key]) != "an object":
            raise MalformedLine(f"{key} must be an object, not {_kind(members[key])}")
    context = members.get("context")
    return Call(hook, bytes(members["payload"]), None if context is None else bytes(context), _key(members))


def _key(members: dict[str, msgspec.Raw]) -> str | None:
    given = members.get("idempotency_key")
    if given is None:
        return None
    key = _text(given)
    if not key:
        raise MalformedLine(f"idempotency_key must be a string with something in it, not {_kind(given)}")
    return key


def _members(text: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _MEMBERS.decode(text)
    except msgspec.ValidationError:
        raise MalformedLine(f"a call is a JSON object, not {_kind(text)}") from None
    except msgspec.DecodeError as error:
        raise MalformedLine(f"not JSON: {str(error).removeprefix('JSON is malformed: ')}") from None
    except UnicodeDecodeError:
        raise MalformedLine("not UTF-8") from None
    except RecursionError:
        raise MalformedLine("nested too deeply") from None


def _text(raw: msgspec.Raw) -> str | None:
    try:
        value = msgspec.json.decode(raw)
    except UnicodeDecodeError:
        raise MalformedLine("not UTF-8") from None
    return value if isinstance(value, str) else None


def _kind(raw: bytes | msgspec.Raw) -> str:
    first = bytes(raw).lstrip()[:1]
    words = {b"{": "an object", b"[": "a list", b'"': "a string", b"t": "a boolean", b"f": "a boolean", b"n": "null"}
    return words.get(first, "a number")


def _meant(close: str | None) -> str:
    return f"; did you mean {close!r}?" if close else ""
